"""A gripper whose device may be slow: a thread of its own talks to it, everybody else reads the newest state."""

import logging
import threading
from dataclasses import replace
from types import TracebackType
from typing import Protocol, Self

from mola_core.contracts.clock import NS_PER_S, Clock
from mola_core.contracts.errors import ArmError, GripperError
from mola_drivers.backoff import Backoff
from mola_drivers.gripper.protocol import GripperState, GripperTarget, checked_target
from mola_drivers.gripper.stuck import StuckDetector

_LOG = logging.getLogger(__name__)
_JOIN_S = 5.0


class GripperDevice(Protocol):
    """The slow part; used by one thread at a time, every call bounded, every failure a GripperError or ArmError."""

    def connect(self, *, activate: bool) -> None:
        """Connect and check that it is ready. Only with ``activate`` may that move the fingers."""
        ...

    def close(self) -> None:
        """Disconnect; harmless when not connected."""
        ...

    def command(self, target: GripperTarget) -> None:
        """Start towards ``target``."""
        ...

    def poll(self) -> GripperState:
        """Ask for the state."""
        ...


class ThreadedGripper:
    """Any :class:`GripperDevice` behind :class:`mola_drivers.gripper.protocol.Gripper`.

    A lost device is reconnected with backoff and stands still afterwards until the next :meth:`move`. A bug ends the thread, and is
    raised by every :meth:`move` and :meth:`state` from then on: who goes on would take the last state for the newest.
    """

    def __init__(self, *, device: GripperDevice, rate_hz: float, speed: float, force: float, clock: Clock) -> None:
        self._device = device
        self._period_ns = round(NS_PER_S / rate_hz)
        self._speed = speed
        self._force = force
        self._clock = clock
        self._backoff = Backoff()
        self._stuck = StuckDetector()
        self._lock = threading.Lock()
        self._pending: GripperTarget | None = None
        self._state = GripperState(opening=None, moving=False, blocked=False, fault=None, stamp_ns=0)
        self._closing = threading.Event()
        self._may_activate = threading.Event()
        self._thread: threading.Thread | None = None
        self._bug: BaseException | None = None

    def __enter__(self) -> Self:
        try:
            self._device.connect(activate=True)
            self._state = self._device.poll()
        except ArmError as error:
            self._device.close()
            raise GripperError(str(error)) from error
        except BaseException:
            self._device.close()
            raise
        self._closing.clear()
        self._bug = None
        self._thread = threading.Thread(target=self._run, name="gripper", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        if self._thread is not None:
            self._thread.join(_JOIN_S)
            self._thread = None

    def move(self, *, opening: float, speed: float | None = None, force: float | None = None) -> None:
        target = checked_target(
            opening=opening,
            speed=self._speed if speed is None else speed,
            force=self._force if force is None else force,
        )
        self._raise_bug()
        with self._lock:
            self._pending = target

    def state(self) -> GripperState:
        self._raise_bug()
        return self._state

    def reactivate(self) -> None:
        self._may_activate.set()

    def _raise_bug(self) -> None:
        if self._bug is not None:
            raise self._bug

    def _run(self) -> None:
        try:
            self._talk_until_closing()
        except BaseException as error:  # noqa: BLE001 - whatever it is, nobody else would hear that the fingers are left alone
            self._bug = error
        finally:
            self._device.close()

    def _talk_until_closing(self) -> None:
        connected = True
        while not self._closing.is_set():
            try:
                if not connected:
                    self._device.connect(activate=self._may_activate.is_set())
                    connected = True
                    self._may_activate.clear()
                    self._take_pending()  # given while the gripper was lost: forgotten
                    _LOG.info("gripper is back")
                self._cycle()
                self._backoff.reset()
            except (ArmError, GripperError) as error:
                self._lose(error)
                connected = False

    def _cycle(self) -> None:
        deadline_ns = self._clock.monotonic_ns() + self._period_ns
        target = self._take_pending()
        if target is not None:
            self._device.command(target)
            self._stuck.expect(opening=target.opening, now_ns=self._clock.monotonic_ns())
        state = self._device.poll()
        if state.fault is None:
            state = replace(state, fault=self._stuck.check(state, now_ns=self._clock.monotonic_ns()))
        self._note(state)
        self._closing.wait(max(0, deadline_ns - self._clock.monotonic_ns()) / NS_PER_S)

    def _lose(self, error: Exception) -> None:
        self._device.close()
        self._take_pending()
        self._stuck.forget()
        self._note(replace(self._state, moving=False, fault=GripperError(str(error))))
        self._closing.wait(self._backoff.next_s())

    def _take_pending(self) -> GripperTarget | None:
        with self._lock:
            target, self._pending = self._pending, None
        return target

    def _note(self, state: GripperState) -> None:
        if str(state.fault) != str(self._state.fault) and state.fault is not None:
            _LOG.warning("gripper: %s", state.fault)
        self._state = state
