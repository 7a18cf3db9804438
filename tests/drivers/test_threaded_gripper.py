"""The thread that talks to a gripper never ends unheard of."""

import threading

import pytest

from mola_core.contracts.clock import SystemClock
from mola_drivers.gripper.protocol import GripperState, GripperTarget
from mola_drivers.gripper.threaded import ThreadedGripper

PATIENCE_S = 10.0


class BrokenDevice:
    """Answers once, then with what its driver does not expect."""

    def __init__(self, bug: Exception) -> None:
        self._bug: Exception | None = None
        self._next = bug
        self.closed = threading.Event()

    def connect(self, *, activate: bool) -> None:
        assert activate

    def close(self) -> None:
        self.closed.set()

    def command(self, target: GripperTarget) -> None: ...

    def poll(self) -> GripperState:
        if self._bug is not None:
            raise self._bug
        self._bug = self._next
        return GripperState(opening=0.5, moving=False, blocked=False, fault=None, stamp_ns=1)


def test_a_bug_of_the_thread_is_raised_wherever_the_gripper_is_asked_and_the_device_is_closed() -> None:
    bug = IndexError("an answer of no bytes")
    device = BrokenDevice(bug)
    with ThreadedGripper(device=device, rate_hz=100.0, speed=0.5, force=0.5, clock=SystemClock()) as gripper:
        assert device.closed.wait(PATIENCE_S)
        with pytest.raises(IndexError) as by_state:
            gripper.state()
        with pytest.raises(IndexError) as by_move:
            gripper.move(opening=0.5)
    assert by_state.value is by_move.value is bug
