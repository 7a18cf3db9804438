"""A person comes before a policy, and no two sources ever interleave."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mola_core.contracts.clock import NS_PER_MS
from mola_core.contracts.errors import ChunkRejectedError
from mola_core.contracts.teleop import is_teleop, teleop_source
from mola_core.control.arbiter import Arbiter
from mola_core.control.servo_types import ServoState

STALE_MS = 150
MOUSE, PAD, POLICY, OTHER_POLICY = teleop_source("spacemouse"), teleop_source("gamepad"), "policy", "scripted"


@dataclass(frozen=True)
class View:
    stamp_ns: int
    state: ServoState


class Door:
    """An arbiter before a servo that reports at once and comes to rest after a while."""

    def __init__(self) -> None:
        self.arbiter = Arbiter(stale_ms=STALE_MS)
        self.now_ms = 1000.0
        self.state = ServoState.HOLDING
        self.passed: list[tuple[float, str, bool]] = []

    def send(self, source: str, *, release: bool = False) -> str:
        """Why the chunk was refused; empty if it passed."""
        now_ns = round(self.now_ms * NS_PER_MS)
        try:
            view = View(now_ns, self.state)
            self.arbiter.check(source=source, is_release=release, servo=view, now_ns=now_ns)
        except ChunkRejectedError as error:
            return str(error)
        self.arbiter.admit(source=source, is_release=release, now_ns=now_ns)
        self.passed.append((self.now_ms, source, release))
        self.state = ServoState.EXECUTING
        return ""

    def wait(self, ms: float) -> None:
        self.now_ms += ms


def test_a_person_takes_over_from_a_policy_and_gives_back_at_rest():
    door = Door()
    assert not door.send(POLICY)
    assert not door.send(MOUSE)
    assert "'teleop/spacemouse' has taken over; release its deadman" in door.send(POLICY)
    assert not door.send(MOUSE, release=True)
    door.wait(30)
    assert "still comes to rest" in door.send(POLICY)
    door.state = ServoState.HOLDING
    assert not door.send(POLICY)


def test_a_report_from_before_the_release_gives_nothing_back():
    door = Door()
    door.send(MOUSE)
    door.send(MOUSE, release=True)
    door.state = ServoState.HOLDING  # as reported before the servo saw any of it
    door.wait(10)
    assert door.send(POLICY)


def test_the_second_person_waits_for_the_first():
    door = Door()
    door.send(MOUSE)
    assert "teleop/spacemouse" in door.send(PAD)


def test_a_person_who_let_go_may_take_hold_again_before_the_arm_rests():
    door = Door()
    door.send(MOUSE)
    door.send(MOUSE, release=True)
    assert not door.send(MOUSE)
    door.state = ServoState.HOLDING
    door.wait(50)
    assert door.send(POLICY)


def test_a_device_that_falls_silent_gives_the_arm_back_once_the_servo_has_stopped():
    door = Door()
    door.send(MOUSE)
    door.wait(STALE_MS - 1)
    assert door.send(POLICY)
    door.wait(2)
    assert not door.send(POLICY)


def test_nothing_passes_while_the_arm_is_guided_by_hand():
    door = Door()
    door.state = ServoState.GUIDED
    assert "by hand" in door.send(POLICY)
    assert "by hand" in door.send(MOUSE)


def test_a_release_without_anything_to_release_is_refused():
    assert "nothing to release" in Door().send(MOUSE, release=True)
    assert not is_teleop(POLICY)


STEPS = st.tuples(
    st.sampled_from([MOUSE, PAD, POLICY, OTHER_POLICY]),
    st.booleans(),
    st.floats(0, 60),
    st.sampled_from([None, ServoState.HOLDING, ServoState.STOPPED]),
)


@given(st.lists(STEPS, max_size=120))
def test_no_source_ever_gets_between_the_chunks_of_a_person(steps):
    door = Door()
    for source, release, pause_ms, settled in steps:
        door.wait(pause_ms)
        door.state = door.state if settled is None else settled
        door.send(source, release=release)
    for number, (start_ms, person, released) in enumerate(door.passed):
        if not is_teleop(person) or released or number + 1 == len(door.passed):
            continue
        next_ms, successor, _ = door.passed[number + 1]
        # whoever follows a person's motion is the same person, or the device had died
        assert successor == person or next_ms - start_ms > STALE_MS, door.passed[number : number + 2]


@pytest.mark.parametrize("state", [ServoState.EXECUTING, ServoState.BRAKING])
def test_a_moving_arm_is_not_given_back(state):
    door = Door()
    door.send(MOUSE)
    door.send(MOUSE, release=True)
    door.state = state
    for _ in range(10):
        door.wait(100)
        assert door.send(POLICY)
