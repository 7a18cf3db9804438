"""The operator's terminal: hears the graph, shows the screen, and turns keys into requests."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from mola_interfaces.msg import EpisodeStatus, LatencyReport, TeleopStatus
from mola_interfaces.srv import EpisodeControl

from mola_core.contracts.clock import NS_PER_S, Clock, SystemClock
from mola_core.contracts.errors import MolaError
from mola_nodes import graph
from mola_nodes.demo.operator_client import OperatorClient
from mola_nodes.record.screen import Picture

_PATIENCE_S = 60.0
"""Ending an episode waits for the disk."""
_Request = EpisodeControl.Request


@dataclass(slots=True)
class _Heard:
    status: EpisodeStatus | None = None
    status_ns: int = 0
    latency: LatencyReport | None = None
    teleop: TeleopStatus | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class Terminal:
    """Belongs to the main thread; requests run in one of their own, so that the screen goes on."""

    def __init__(
        self, operator: OperatorClient, *, store: str, instruction: str, operator_name: str, clock: Clock | None = None
    ) -> None:
        self._operator = operator
        self._store = store
        self._instruction, self._operator_name = instruction, operator_name
        self._clock = clock or SystemClock()
        self._heard = _Heard()
        self._requests = ThreadPoolExecutor(max_workers=1)
        self._pending: Future[str] | None = None
        self._said, self._refused = "", False
        self._asked_to_quit = False
        operator.subscribe(graph.EPISODE_STATUS, self._on_status)
        operator.subscribe(graph.LATENCY, self._on_latency)
        operator.subscribe(graph.TELEOP_STATUS, self._on_teleop)

    @property
    def status(self) -> EpisodeStatus | None:
        """What the recorder said last."""
        with self._heard.lock:
            return self._heard.status

    def press(self, key: str) -> bool:
        """Do what a key asks; False when it is time to leave. A key that comes while another is answered is not taken."""
        if key == "q":
            return self._stay_if_recording()
        self._asked_to_quit = False
        action = self._action(key)
        if action is not None and self._pending is None:
            self._said = ""
            self._pending = self._requests.submit(action)
        return True

    def set_instruction(self, instruction: str) -> None:
        """What the next episode is about."""
        if instruction:
            self._instruction = instruction
            self._said, self._refused = f"next: “{instruction}”", False

    def picture(self) -> Picture:
        """What the screen shows now."""
        self._collect_answer()
        # the demo evaluates these afterwards; a sitting goes on for hours
        self._operator.servo_statuses.clear()
        self._operator.latency_reports.clear()
        with self._heard.lock:
            status = self._with_next_instruction(self._heard.status)
            age_s = (self._clock.monotonic_ns() - self._heard.status_ns) / NS_PER_S
            return Picture(
                status=status,
                status_age_s=age_s,
                servo=self._operator.servo_status,
                latency=self._heard.latency,
                teleop=self._heard.teleop,
                store=self._store,
                said=self._said,
                refused=self._refused,
                busy=self._pending is not None,
            )

    def close(self) -> None:
        """Wait for the request under way."""
        self._requests.shutdown(wait=True)

    def _action(self, key: str) -> Callable[[], str] | None:
        recording = self.status is not None and self.status.state == EpisodeStatus.RECORDING
        start = _Request(command=_Request.START, instruction=self._instruction, operator_name=self._operator_name)
        requests = {
            " ": _Request(command=_Request.STOP) if recording else start,
            "s": _Request(command=_Request.KEEP, outcome=_Request.SUCCESS),
            "f": _Request(command=_Request.KEEP, outcome=_Request.FAILURE),
            "d": _Request(command=_Request.DROP),
        }
        if key in requests:
            return lambda: self._control(requests[key])
        return {"a": self._resume, "x": self._stop}.get(key)

    def _control(self, request: EpisodeControl.Request) -> str:
        answer: EpisodeControl.Response = self._operator.call(graph.EPISODE_CONTROL, request, timeout_s=_PATIENCE_S)
        if not answer.success:
            raise MolaError(answer.message)
        return str(answer.message)

    def _resume(self) -> str:
        self._operator.resume()
        return "the arm may move"

    def _stop(self) -> str:
        self._operator.stop(reason="stopped at the recorder's terminal")
        return "the arm brakes; a lets it move again"

    def _stay_if_recording(self) -> bool:
        """Quitting in the middle of an episode asks once more."""
        recording = self.status is not None and self.status.state == EpisodeStatus.RECORDING
        if not recording or self._asked_to_quit:
            return False
        self._asked_to_quit = True
        self._said, self._refused = "an episode is being recorded; q once more leaves, s, f or d ends it first", True
        return True

    def _collect_answer(self) -> None:
        if self._pending is None or not self._pending.done():
            return
        pending, self._pending = self._pending, None
        try:
            self._said, self._refused = pending.result(), False
        except MolaError as error:
            self._said, self._refused = str(error), True

    def _with_next_instruction(self, status: EpisodeStatus | None) -> EpisodeStatus | None:
        """Between episodes the screen shows what the next one will be about."""
        if status is not None and status.state in {EpisodeStatus.IDLE, EpisodeStatus.BLOCKED}:
            status.instruction = self._instruction or status.instruction
            status.operator_name = self._operator_name or status.operator_name
        return status

    def _on_status(self, message: EpisodeStatus) -> None:
        with self._heard.lock:
            self._heard.status, self._heard.status_ns = message, self._clock.monotonic_ns()

    def _on_latency(self, message: LatencyReport) -> None:
        with self._heard.lock:
            self._heard.latency = message

    def _on_teleop(self, message: TeleopStatus) -> None:
        with self._heard.lock:
            self._heard.teleop = message
