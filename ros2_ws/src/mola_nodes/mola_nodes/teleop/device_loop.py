"""Reads the device at a steady rate in a thread of its own, and hands on what the session makes of it."""

import logging
import threading
import traceback
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from mola_core.contracts.clock import NS_PER_S, Clock
from mola_core.contracts.errors import TeleopError
from mola_core.contracts.teleop import RECORDER_PRESSES, Press, TeleopCommand
from mola_core.contracts.types import ActionChunk
from mola_core.control.teleop.session import RigView, TeleopSession, TeleopView
from mola_drivers.teleop.protocol import TeleopDevice

_REOPEN_NS = NS_PER_S
_OPEN_S = 10.0
_STATUS_NS = NS_PER_S // 20

_log = logging.getLogger("mola.teleop")


class DeviceLoop:
    """Runs while entered; the device is opened, read and closed by the one thread that owns it.

    Raises:
        TeleopError: on entering, when the device cannot be opened. One that is lost later is tried again every second.
    """

    def __init__(
        self,
        device: TeleopDevice,
        *,
        session: TeleopSession,
        rig: Callable[[], RigView],
        send: Callable[[ActionChunk], None],
        guide: Callable[[bool], None],
        say: Callable[[TeleopView], None],
        record: Callable[[Press], None],
        rate_hz: float,
        clock: Clock,
    ) -> None:
        """``record`` is given the presses that are meant for the episode recorder."""
        self._device = device
        self._session = session
        self._rig = rig
        self._send = send
        self._guide = guide
        self._say = say
        self._record = record
        self._period_ns = round(NS_PER_S / rate_hz)
        self._clock = clock
        self._presses: deque[Press] = deque()
        self._ending = threading.Event()
        self._opened = threading.Event()
        self._problem: TeleopError | None = None
        self._lost_ns: int | None = None
        self._guiding = False
        self._said: tuple[bool, bool, str] | None = None
        self._said_ns = 0
        self.has_failed = False
        """The thread ended by a bug; its trace is in the log."""
        self.view: TeleopView | None = None
        """What the session said last."""
        self._thread = threading.Thread(target=self._run, name="teleoperation device", daemon=True)

    def press(self, press: Press) -> None:
        """As if the device's button had been pressed; from any thread."""
        self._presses.append(press)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._opened.wait(_OPEN_S):
            self._ending.set()
            raise TeleopError(f"the {self._device.name} does not open within {_OPEN_S:g} s; unplug it and plug it in")
        if self._problem is not None:
            self._thread.join()
            raise self._problem
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._device.__enter__()
        except TeleopError as error:
            self._problem = error
            self._opened.set()
            return
        self._opened.set()
        try:
            self._read_until_ended()
        except Exception:  # noqa: BLE001 (a bug: nobody would hear of it in this thread; the arm brakes as stale meanwhile)
            _log.error("the loop of the %s ended: %s", self._device.name, traceback.format_exc())
            self.has_failed = True
        finally:
            self._device.__exit__(None, None, None)

    def _read_until_ended(self) -> None:
        deadline_ns = self._clock.monotonic_ns()
        while not self._ending.is_set():
            self._step()
            deadline_ns = max(deadline_ns + self._period_ns, self._clock.monotonic_ns())
            self._clock.sleep_until(deadline_ns)
        chunk = self._session.let_go(now_ns=self._clock.now_ns())
        if chunk is not None:
            self._send(chunk)

    def _step(self) -> None:
        now_ns = self._clock.now_ns()
        command = self._read(now_ns)
        for press in command.pressed:
            if press in RECORDER_PRESSES:
                self._record(press)
        while self._presses:
            self._session.press(self._presses.popleft())
        step = self._session.step(command, rig=self._rig(), now_ns=now_ns)
        if step.chunk is not None:
            self._send(step.chunk)
        if step.hand_guidance or self._guiding:
            self._guide(step.hand_guidance)
        self._guiding = step.hand_guidance
        self.view = step.view
        said = (step.view.engaged, step.view.enabled, step.view.reason)
        if said != self._said or now_ns - self._said_ns >= _STATUS_NS:
            self._said, self._said_ns = said, now_ns
            self._say(step.view)

    def _read(self, now_ns: int) -> TeleopCommand:
        command = self._device.read(now_ns)
        if command.alive:
            self._lost_ns = None
            return command
        if self._lost_ns is None:
            _log.warning("the %s is lost; trying to open it again", self._device.name)
            self._lost_ns = now_ns
        elif now_ns - self._lost_ns >= _REOPEN_NS:
            self._lost_ns = now_ns
            self._reopen()
        return command

    def _reopen(self) -> None:
        self._device.__exit__(None, None, None)
        try:
            self._device.__enter__()
        except TeleopError:
            return  # it reads as lost until it can be opened
        _log.info("the %s is back", self._device.name)
