"""A UR5e through ur_rtde 1.6.5.

What the library does badly is handled here: it says True while sending nothing on a dead link (liveness is the progress
of the controller's clock), reconnects and re-sends a stale target by itself (a call that took too long ends the link),
lets NaN through (checked), forgets its watchdog with every program (re-armed), and blocks up to 300 s (bounded). What
cannot be handled inside the process ends it: see :class:`mola_drivers.arm.protocol.ArmLinkError`.

Its methods release the GIL: any other busy Python thread in the process costs three quarters of the servo cycles.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S, Clock
from mola_core.contracts.errors import ArmError
from mola_core.contracts.site import ArmSpec
from mola_core.contracts.types import Joints, RobotMode, SafetyMode
from mola_drivers.arm.digital_outputs import RtdeDigitalOutputs
from mola_drivers.arm.link_watch import LinkWatch, sockets_to
from mola_drivers.arm.ports import RTDE_PORT
from mola_drivers.arm.preflight import check_controller, unlock_protective_stop
from mola_drivers.arm.protocol import ALIVE_TIMEOUT_NS, ArmLinkError, ArmReading, checked_joints, refusal
from mola_drivers.arm.rtde import ControlLink, ReceiveLink, is_playing, open_control, open_receive
from mola_drivers.bounded import run_bounded

_REASON_NS = 20 * NS_PER_MS
_COMMAND_S = 3.0
_STOP_S = 5.0
_DISCONNECT_S = 4.0
_PROGRAM_START_NS = 5 * NS_PER_S
_PATIENT_WATCHDOG_HZ = 0.5
_MAX_READ_ATTEMPTS = 20
_SAFETY_MODES = {mode.value: mode for mode in SafetyMode} | {
    12: SafetyMode.SAFEGUARD_STOP,  # in automatic mode
    13: SafetyMode.SAFEGUARD_STOP,  # three-position enabling switch
}


@dataclass(frozen=True, slots=True)
class _Links:
    control: ControlLink
    receive: ReceiveLink
    watch: LinkWatch
    owner: int
    """Identity of the thread that may use them."""


class Ur5e:
    """A real UR5e (or whatever speaks like one) behind :class:`mola_drivers.arm.protocol.Arm`."""

    def __init__(self, *, spec: ArmSpec, clock: Clock, alive_timeout_ns: int = ALIVE_TIMEOUT_NS) -> None:
        self._spec = spec
        self._clock = clock
        self._alive_timeout_ns = alive_timeout_ns
        self._links: _Links | None = None
        self._outputs = ExitStack()
        self._digital_outputs: RtdeDigitalOutputs | None = None
        self._reading: ArmReading | None = None
        self._progress_time_s = -1.0
        self._progress_ns = 0

    def __enter__(self) -> Self:
        check_controller(host=self._spec.host)
        self._reading = None
        self._links = self._open_links()
        try:
            self._prepare_program()
        except BaseException:
            self._disconnect()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._disconnect()

    def read(self) -> ArmReading:
        receive = self._connected().receive
        for _ in range(_MAX_READ_ATTEMPTS):
            time_s = receive.getTimestamp()
            if self._reading is not None and time_s == self._reading.controller_time_s:
                return self._reading
            reading = self._take_reading(receive, time_s)
            if receive.getTimestamp() == time_s:  # else a new package came in between
                self._reading = reading
                self._note_progress(time_s)
                return reading
        raise ArmError("the process is too starved of CPU to take one consistent reading; leave it a core")

    def servo(self, joint_positions: Joints) -> None:
        target = checked_joints(joint_positions)
        servo = self._spec.servo
        control = self._usable().control
        self._send(lambda: control.servoJ(target, 0.0, 0.0, 1.0 / servo.frequency_hz, servo.lookahead_s, servo.gain))

    def keep_alive(self) -> None:
        self._send(self._usable().control.kickWatchdog)

    def stop(self, *, deceleration: float) -> None:
        if not deceleration > 0:
            raise ValueError(f"deceleration must be positive, got {deceleration} m/s^2")
        control = self._usable().control
        # servoStop writes nothing until the arm rests
        with self._patient_watchdog():
            self._command(lambda: control.servoStop(deceleration), timeout_s=_STOP_S)

    @property
    def is_alive(self) -> bool:
        if self._links is None:
            return False
        self._note_progress(self._links.receive.getTimestamp())
        return self._clock.monotonic_ns() - self._progress_ns < self._alive_timeout_ns

    def unlock_protective_stop(self) -> None:
        unlock_protective_stop(host=self._spec.host, clock=self._clock)
        if self._links is None:
            return
        control, receive = self._usable().control, self._links.receive
        self._command(control.reuploadScript)
        deadline_ns = self._clock.monotonic_ns() + _PROGRAM_START_NS
        while not is_playing(receive.getRuntimeState()):
            if self._clock.monotonic_ns() > deadline_ns:
                raise ArmError("the servo program did not start again after unlocking; connect afresh")
            self._clock.sleep_until(self._clock.monotonic_ns() + 2 * NS_PER_MS)
        self._prepare_program()

    def start_freedrive(self) -> None:
        self._command(self._usable().control.freedriveMode)

    def stop_freedrive(self) -> None:
        self._command(self._usable().control.endFreedriveMode)

    def set_digital_output(self, *, output: int, high: bool) -> None:
        outputs = self._digital_outputs or self._open_digital_outputs()
        outputs.set(output=output, high=high)

    # -- the library -------------------------------------------------------------------------------------------------

    def _open_links(self) -> _Links:
        host, frequency_hz = self._spec.host, self._spec.servo.frequency_hz
        with ExitStack() as on_failure:
            receive = open_receive(host=host, frequency_hz=frequency_hz)
            on_failure.callback(_try_bounded, receive.disconnect)
            others = sockets_to(port=RTDE_PORT)
            control = open_control(host=host, frequency_hz=frequency_hz)
            on_failure.callback(_try_bounded, control.disconnect)
            watch = LinkWatch.on_new_socket(port=RTDE_PORT, before=others)
            on_failure.pop_all()
        return _Links(control, receive, watch, threading.get_ident())

    def _connected(self) -> _Links:
        if self._links is None:
            raise ArmError(f"the arm at {self._spec.host} is not connected; use it inside `with arm:`")
        if threading.get_ident() != self._links.owner:
            raise ArmError("the arm belongs to the thread that connected it; ur_rtde is not thread-safe")
        return self._links

    def _usable(self) -> _Links:
        links = self._connected()
        if not links.watch.is_established() or not links.control.isConnected():
            raise ArmLinkError(f"{self._spec.host} has hung up; check the network and the controller")
        if not self.is_alive:
            age_ms = (self._clock.monotonic_ns() - self._progress_ns) // NS_PER_MS
            raise ArmLinkError(f"the link to {self._spec.host} is dead: no news for {age_ms} ms; check the network")
        return links

    def _send(self, call: Callable[[], bool]) -> None:
        """A call that does not wait for the controller; if it did, the library was reconnecting meanwhile."""
        start_ns = self._clock.monotonic_ns()
        try:
            accepted = call()
        except RuntimeError as error:
            raise ArmLinkError(f"the link to {self._spec.host} broke: {error}") from error
        elapsed_ns = self._clock.monotonic_ns() - start_ns
        if elapsed_ns > self._alive_timeout_ns:
            raise ArmLinkError(
                f"sending to {self._spec.host} took {elapsed_ns // NS_PER_MS} ms: the library lost the link meanwhile"
            )
        if not accepted:
            raise self._refusal()

    def _command(self, call: Callable[[], bool], *, timeout_s: float = _COMMAND_S) -> None:
        """A call that waits until the controller's program is done with it."""
        try:
            accepted = run_bounded(call, timeout_s=timeout_s)
        except TimeoutError as error:
            raise ArmLinkError(f"{self._spec.host} did not finish a command within {timeout_s:g} s") from error
        except RuntimeError as error:
            raise ArmLinkError(f"the link to {self._spec.host} broke: {error}") from error
        if not accepted:
            raise self._refusal()

    def _refusal(self) -> ArmError:
        """Why the controller refused. Its answer can overtake that news by a package or two, which are waited for."""
        deadline_ns = self._clock.monotonic_ns() + _REASON_NS
        while True:
            reading = self.read()
            reason = refusal(
                safety_mode=reading.safety_mode, robot_mode=reading.robot_mode, program_running=reading.program_running
            )
            if reason is not None:
                return ArmError(reason)
            if self._clock.monotonic_ns() > deadline_ns:
                return ArmError(f"the controller at {self._spec.host} refuses a command and does not say why")
            self._clock.sleep_until(self._clock.monotonic_ns() + NS_PER_MS)

    def _prepare_program(self) -> None:
        """What the program, or the controller at its start, forgets."""
        control = self._connected().control
        self._note_progress(self._connected().receive.getTimestamp())
        self._command(lambda: control.setTcp(list(self._spec.tcp_offset)))
        self._command(lambda: control.setPayload(self._spec.payload_kg, list(self._spec.payload_cog)))
        self._arm_watchdog()

    def _open_digital_outputs(self) -> RtdeDigitalOutputs:
        outputs = RtdeDigitalOutputs(host=self._spec.host, clock=self._clock)
        # the library's constructor sleeps 0.1 s with the GIL held
        with self._patient_watchdog():
            self._digital_outputs = self._outputs.enter_context(outputs)
        return outputs

    @contextmanager
    def _patient_watchdog(self) -> Iterator[None]:
        """For as long as nothing can be written: under the servo's watchdog that alone would end the program."""
        control = self._usable().control
        self._command(lambda: control.setWatchdog(_PATIENT_WATCHDOG_HZ))
        yield
        self._arm_watchdog()

    def _arm_watchdog(self) -> None:
        control = self._connected().control
        self._command(lambda: control.setWatchdog(self._spec.servo.watchdog_hz))

    def _note_progress(self, time_s: float) -> None:
        if time_s != self._progress_time_s:
            self._progress_time_s = time_s
            self._progress_ns = self._clock.monotonic_ns()

    def _take_reading(self, receive: ReceiveLink, time_s: float) -> ArmReading:
        return ArmReading(
            controller_time_s=time_s,
            received_ns=self._clock.monotonic_ns(),
            stamp_ns=self._clock.now_ns(),
            joint_positions=np.array(receive.getActualQ()),
            joint_velocities=np.array(receive.getActualQd()),
            base_from_tcp=np.array(receive.getActualTCPPose()),
            robot_mode=RobotMode(receive.getRobotMode()),
            safety_mode=_safety_mode(receive.getSafetyMode()),
            speed_scaling=receive.getSpeedScaling() * receive.getTargetSpeedFraction(),
            program_running=is_playing(receive.getRuntimeState()),
        )

    def _disconnect(self) -> None:
        links, alive = self._links, self.is_alive
        self._links = self._digital_outputs = None
        self._outputs.close()
        if links is None or not alive:
            # the library may be reconnecting in a thread of its own; touching it now can hang or crash
            return
        links.watch.close()
        for call in (links.control.stopScript, links.control.disconnect, links.receive.disconnect):
            if not _try_bounded(call):
                return


def _try_bounded(call: Callable[[], None]) -> bool:
    try:
        run_bounded(call, timeout_s=_DISCONNECT_S)
    except (TimeoutError, RuntimeError):
        return False
    return True


def _safety_mode(value: int) -> SafetyMode:
    # a mode that this version does not know must not let the arm move
    return _SAFETY_MODES.get(value, SafetyMode.FAULT)
