"""The learned policy's decisions: which foresights it answers, at what pace, and what it does with a broken half; all faked."""

import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from mola_interfaces.action import RunPolicy

from mola_core.contracts.clock import NS_PER_MS, FakeClock
from mola_core.contracts.errors import MolaError
from mola_core.contracts.io_spec import CameraView, DataContract, IoSpec
from mola_core.contracts.site import SafetySpec
from mola_core.contracts.types import RobotMode, RobotState, SafetyMode
from mola_core.runtime import stages
from mola_core.runtime.foresight import Foresight
from mola_core.runtime.planning import ExecutionMode
from mola_core.runtime.policy import PolicyAnswer
from mola_core.runtime.slot import EngineSlot, Wanted
from mola_core.runtime.tensors import RuntimeInputError, Tensor
from mola_nodes.bounded_calls import BoundedCalls
from mola_nodes.policy.foresights import NewestForesights
from mola_nodes.policy.learned import LearnedPlanner, PlannerParts
from mola_nodes.policy.shadow import ShadowTally
from mola_nodes.policy.shadowing import ActorShadow
from mola_nodes.policy.states import StateHistory, StateMissingError
from mola_nodes.policy.tally import RunTally
from mola_nodes.policy.thinking import ThinkingPlanner
from mola_nodes.turns import Troubles

PERIOD_NS = 100 * NS_PER_MS
IO = IoSpec(
    contract=DataContract(cameras=("wrist",), period_ns=PERIOD_NS),
    views=(CameraView(camera="wrist", width=64, height=64),),
    horizon=8,
    execute_steps=4,
    foresight_offsets=(2,),
)


@dataclass
class FakeActor:
    """Goes 1 cm a row along x; can be made to fail, to give what is not finite, or to take long."""

    bundle_id: str
    clock: FakeClock
    fails: bool = False
    value: float = 0.01
    takes_ms: float = 5.0
    modalities: tuple[str, ...] = ()
    max_settled: int = 4
    settled: list[np.ndarray | None] = field(default_factory=list)
    asked: threading.Event = field(default_factory=threading.Event)
    gate: threading.Lock = field(default_factory=threading.Lock)
    """Held back while somebody else holds it."""
    turn: threading.Lock = field(default_factory=threading.Lock)
    """Held by a call, as real actors do: closing waits for it."""
    closed: bool = False
    enabled: list[frozenset[str]] = field(default_factory=list)

    def act(
        self,
        foresight: Foresight,
        *,
        state: np.ndarray,
        noise_seed: int | None = None,
        settled: np.ndarray | None = None,
    ) -> PolicyAnswer:
        with self.turn:
            return self._act(foresight, settled)

    def _act(self, foresight: Foresight, settled: np.ndarray | None) -> PolicyAnswer:
        self.settled.append(settled)
        self.asked.set()
        with self.gate:
            pass
        self.clock.advance(round(self.takes_ms * NS_PER_MS))
        if self.fails:
            raise MolaError("out of memory")
        targets = np.zeros((8, 6))
        targets[:, 0] = self.value * np.arange(8)
        return PolicyAnswer(stamp_ns=foresight.stamp_ns, targets=targets, openings=np.ones(8), foresight=foresight)

    def enable(self, modalities: frozenset[str]) -> None:
        self.enabled.append(modalities)

    def close(self) -> None:
        with self.turn:
            self.closed = True


@dataclass
class FakeHalf:
    actor: FakeActor
    io: IoSpec = IO

    @property
    def bundle_id(self) -> str:
        return self.actor.bundle_id

    def close(self) -> None:
        self.actor.close()


class Bench:
    """A planner, its slot with the bundles ``old/1`` and ``new/1``, and what it published."""

    def __init__(self, slot: EngineSlot[FakeHalf], halves: dict[str, FakeHalf], clock: FakeClock) -> None:
        self.slot, self.halves, self.clock = slot, halves, clock
        self.foresights = NewestForesights()
        self.states = StateHistory(tolerance_ns=50 * NS_PER_MS)
        self.shadow = ShadowTally()
        self.calls = BoundedCalls[PolicyAnswer]("actor")
        self.answers: list[str] = []
        self.divergences: list[float] = []
        self.asked_ns: list[int] = []
        self.task_done = False
        self.refused, self.bugs = queue.Queue[MolaError](), queue.Queue[BaseException]()
        self.troubles = Troubles(refused=self.refused.put, bug=self.bugs.put)

    def shadow_of(self, **changes: float) -> ActorShadow:
        return ActorShadow(self.parts(), troubles=self.troubles, **changes)

    def parts(self) -> PlannerParts:
        return PlannerParts(
            slot=self.slot,  # type: ignore[arg-type]
            foresights=self.foresights,
            states=self.states,
            runs=RunTally(),
            shadow=self.shadow,
            calls=self.calls,
            before_answer=lambda _half: None,
            on_answer=lambda half, _answer: self.answers.append(half.bundle_id),
            on_divergence=lambda _bundle, divergence, _guard: self.divergences.append(divergence.value),
            ask=lambda: self.asked_ns.append(self.clock.now_ns()),
            clock=self.clock,
        )

    def planner(self, mode: ExecutionMode = ExecutionMode.RECEDING, **safety: float) -> LearnedPlanner:
        return LearnedPlanner(
            self.parts(),
            instruction="press",
            mode=mode,
            safety=SafetySpec(**safety),  # type: ignore[arg-type]
            done=lambda: self.task_done,
            late_ms=100.0,
        )

    def see(
        self,
        bundle_id: str = "old/1",
        *,
        instruction: str = "press",
        shadow: bool = False,
        feature: float = 1.0,
        features: Tensor | None = None,
        opening: float | None = 1.0,
    ) -> None:
        """A frame is taken now, and a foresight of it arrives at once: ``features``, or all equal to ``feature``."""
        now_ns = self.clock.now_ns()
        self.states.note(state_at(now_ns, opening=opening))
        foresight = Foresight(
            stamp_ns=now_ns,
            bundle_id=bundle_id,
            instruction=instruction,
            cameras=("wrist",),
            offsets_ns=(0, 2 * PERIOD_NS),
            tensors={stages.FEATURES: np.full((1, 2, 3, 4, 4), feature, np.float16) if features is None else features},
            noise_seed=0,
        )
        self.foresights.note(foresight, shadow=shadow)


def state_at(stamp_ns: int, *, opening: float | None) -> RobotState:
    return RobotState(
        stamp_ns=stamp_ns,
        joint_positions=np.zeros(6),
        joint_velocities=np.zeros(6),
        base_from_tcp=np.zeros(6),
        gripper_opening=opening,
        robot_mode=RobotMode.RUNNING,
        safety_mode=SafetyMode.NORMAL,
        speed_scaling=1.0,
    )


@pytest.fixture
def bench() -> Iterator[Bench]:
    clock = FakeClock()
    halves = {name: FakeHalf(FakeActor(name, clock)) for name in ("old/1", "new/1", "third/1")}
    with EngineSlot(halves.__getitem__, close_s=0.05) as slot:
        slot.want(Wanted(1, active="old/1", staged="new/1"))
        while len(slot.report().ready) < 2:
            pass
        yield Bench(slot, halves, clock)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10.0
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.002)


def test_nothing_new_is_planned_without_a_foresight_of_this_instruction(bench: Bench) -> None:
    planner = bench.planner()
    assert planner.refusal() == ""
    assert planner.plan() is None
    bench.see(instruction="open the drawer")
    assert planner.plan() is None
    bench.see()
    chunk = planner.plan()
    assert chunk is not None
    assert (chunk.bundle_id, chunk.execute_steps, len(chunk.targets)) == ("old/1", 4, 8)
    assert planner.plan() is None, "a foresight is answered once"


def test_the_actor_follows_the_bundle_of_the_foresight(bench: Bench) -> None:
    planner = bench.planner(ExecutionMode.REALTIME)
    for bundle_id in ("old/1", "new/1", "old/1", "gone/1"):
        bench.see(bundle_id)
        planner.plan()
    assert bench.answers == ["old/1", "new/1", "old/1"]


def test_the_receding_pace_skips_foresights_until_the_next_answer_is_due(bench: Bench) -> None:
    planner = bench.planner()
    due_ms = []
    for step in range(30):
        bench.see()
        if planner.plan() is not None:
            due_ms.append(step * 33)
        bench.clock.advance(33 * NS_PER_MS)
    assert len(due_ms) == 3
    assert all(300 <= second - first <= 400 for first, second in itertools.pairwise(due_ms)), due_ms


def test_a_foresight_is_asked_for_once_and_only_when_an_answer_is_due(bench: Bench) -> None:
    planner = bench.planner()
    assert not planner.wait(0.0), "the imagination has been asked, and has not answered"
    assert not planner.wait(0.0)
    assert len(bench.asked_ns) == 1
    bench.see()
    assert planner.wait(0.0)
    assert planner.plan() is not None
    bench.clock.advance(300 * NS_PER_MS)
    bench.see()
    assert planner.wait(0.0), "one that nobody asked for is looked at"
    assert planner.plan() is None
    assert not planner.wait(0.0)
    assert len(bench.asked_ns) == 1, "its fourth row is due after 400 ms, and an answer takes 5"
    bench.clock.advance(96 * NS_PER_MS)
    assert not planner.wait(0.0)
    assert len(bench.asked_ns) == 2


def test_in_realtime_the_next_foresight_is_asked_for_before_this_one_is_answered(bench: Bench) -> None:
    actor = bench.halves["old/1"].actor
    planner = bench.planner(ExecutionMode.REALTIME)
    bench.see()
    assert planner.wait(0.0)
    with actor.gate:
        asker = threading.Thread(target=planner.plan)
        asker.start()
        assert actor.asked.wait(10.0)
        assert len(bench.asked_ns) == 1
    asker.join()
    assert not planner.wait(0.0)
    assert len(bench.asked_ns) == 1, "and not once more"


def test_waiting_ends_where_an_answer_becomes_due(bench: Bench) -> None:
    planner = bench.planner()
    bench.see()
    assert planner.plan() is not None
    bench.clock.advance(390 * NS_PER_MS)
    assert not planner.wait(0.02), "the answer is due in 5 ms, but no foresight comes"
    assert len(bench.asked_ns) == 1


@pytest.mark.parametrize(("max_settled", "told"), [(4, [None, 2, 2]), (1, [None, 1, 1]), (0, [None, None, None])])
def test_a_head_is_told_what_is_executed_meanwhile_as_far_as_it_can_continue_it(
    bench: Bench, max_settled: int, told: list[int | None]
) -> None:
    half = bench.halves["old/1"]
    half.actor.max_settled, half.actor.takes_ms = max_settled, 50.0
    planner = bench.planner()
    for _ in told:
        bench.see()
        bench.clock.advance(180 * NS_PER_MS)  # on its way from the imagination
        assert planner.plan() is not None
    assert [None if rows is None else len(rows) for rows in half.actor.settled] == told


def test_realtime_hands_the_settled_rows_of_the_running_plan_to_the_head(bench: Bench) -> None:
    actor = bench.halves["old/1"].actor
    actor.takes_ms = 50.0
    planner = bench.planner(ExecutionMode.REALTIME)
    bench.see()
    bench.clock.advance(80 * NS_PER_MS)  # on its way from the imagination
    planner.plan()
    bench.clock.advance(40 * NS_PER_MS)
    bench.see()
    planner.plan()
    first, second = actor.settled
    assert first is None
    # 130 ms from a picture to its chunk: one row of 100 ms will have been executed, 170 ms after the first picture's second row
    assert second is not None
    assert second.shape == (1, 7)
    assert second[0, 0] == pytest.approx(0.01 * (170 / 100), abs=1e-6)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"fails": True}, "out of memory"),
        ({"value": float("nan")}, "not finite"),
        ({"takes_ms": 250.0}, "took 250 ms, more than 100 ms"),
    ],
)
def test_a_broken_half_is_taken_out_and_the_running_plan_stands(
    bench: Bench, change: dict[str, float], reason: str
) -> None:
    planner = bench.planner(ExecutionMode.REALTIME)
    bench.see()
    assert planner.plan() is not None
    for name, value in change.items():
        setattr(bench.halves["old/1"].actor, name, value)
    bench.see()
    assert planner.plan() is None
    assert reason in bench.slot.report().failed["old/1"]
    assert planner.ending() is None, "the run goes on until its plan runs out or another bundle serves"


def test_nobody_waits_for_a_half_that_does_not_come_back(bench: Bench) -> None:
    planner, actor = bench.planner(ExecutionMode.REALTIME), bench.halves["old/1"].actor
    bench.see()
    assert planner.plan() is not None
    with actor.gate:
        bench.see()
        assert planner.plan() is None
        assert "it was not back after 200 ms" in bench.slot.report().failed["old/1"]
        bench.see("new/1")
        assert planner.plan() is not None, "the other bundle is answered meanwhile"
        bench.slot.want(Wanted(2, active="new/1", staged="third/1"))
        until(lambda: (bench.slot.active(), "third/1" in bench.slot.report().ready)[1])
        until(lambda: bench.slot.report().leaked == ("old/1",))
    until(lambda: actor.closed)


class LostTensor:
    """On a device that does not answer any more."""

    shape = (1, 2, 3, 4, 4)

    def __init__(self, gate: threading.Lock) -> None:
        self._gate = gate

    def wait(self) -> None:
        with self._gate:
            pass

    def to_host(self) -> np.ndarray:
        self.wait()
        raise RuntimeError("the device is lost")


def test_nobody_waits_for_a_device_that_does_not_give_a_foresight_back(bench: Bench) -> None:
    planner, gate = bench.planner(ExecutionMode.REALTIME), threading.Lock()
    with gate:
        bench.see(features=LostTensor(gate))
        assert planner.plan() is None
        assert bench.slot.report().failed["old/1"] == "its foresight cannot be read: it was not back after 300 ms"
        bench.see("new/1")
        assert planner.plan() is not None, "the other bundle is answered meanwhile"


def test_a_gripper_that_says_nothing_ends_the_run_and_harms_no_bundle(bench: Bench) -> None:
    planner = bench.planner()
    bench.see(opening=None)
    with pytest.raises(RuntimeInputError, match="gripper says nothing of its opening"):
        planner.plan()
    bench.clock.advance(PERIOD_NS)
    seen_ns = bench.clock.now_ns()
    bench.see()
    bench.see("new/1", shadow=True)
    assert planner.plan() is not None
    bench.states = StateHistory(tolerance_ns=50 * NS_PER_MS)
    bench.states.note(state_at(seen_ns, opening=None))
    with pytest.raises(RuntimeInputError, match="gripper says nothing of its opening"):
        bench.shadow_of().follow()
    assert bench.slot.report().failed == {}


def test_a_bundle_is_executed_at_its_own_pace(bench: Bench) -> None:
    new = bench.halves["new/1"]
    new.io = IO.model_copy(update={"execute_steps": 7})
    planner = bench.planner()

    def planned_ms(bundle_id: str, until_ms: int) -> list[tuple[int, int]]:
        """When plans were made, and how many of their rows are meant to be executed."""
        plans = []
        while bench.clock.monotonic_ns() < until_ms * NS_PER_MS:
            bench.see(bundle_id)
            chunk = planner.plan()
            if chunk is not None:
                plans.append((bench.clock.monotonic_ns() // NS_PER_MS, chunk.execute_steps))
            bench.clock.advance(10 * NS_PER_MS)
        return plans

    assert [steps for _, steps in planned_ms("old/1", 900)] == [4, 4, 4]
    swapped = planned_ms("new/1", 3000)
    assert {steps for _, steps in swapped} == {7}
    first_ms, *others_ms = (ms for ms, _ in swapped)
    assert first_ms < 1300, "the running plan's four rows were meant, and then the new bundle takes over"
    gaps_ms = [later - earlier for earlier, later in itertools.pairwise([first_ms, *others_ms])]
    assert len(gaps_ms) >= 2
    assert all(680 <= gap <= 720 for gap in gaps_ms), gaps_ms
    new.io = IO
    assert {steps for _, steps in planned_ms("old/1", 4000)[1:]} == {4}, "and back again"


def test_a_bundle_that_is_a_little_late_may_be_so_twice(bench: Bench) -> None:
    planner = bench.planner(ExecutionMode.REALTIME)
    bench.halves["old/1"].actor.takes_ms = 150.0
    for _ in range(2):
        bench.see()
        assert planner.plan() is not None
    bench.see()
    assert planner.plan() is None
    assert "took 150 ms, more than 100 ms, 3 times in a row" in bench.slot.report().failed["old/1"]


def test_the_shadow_is_compared_and_its_errors_concern_only_itself(bench: Bench) -> None:
    planner, shadow = bench.planner(ExecutionMode.REALTIME), bench.shadow_of()
    bench.halves["new/1"].actor.value = 0.02
    bench.see()
    bench.see("new/1", shadow=True)
    assert planner.plan() is not None
    shadow.follow()
    runs, apart_mm = bench.shadow.figures
    assert runs == 1
    assert apart_mm == pytest.approx(35.0), "rows 0..7 are 0..70 mm apart"
    assert bench.answers == ["old/1"]
    bench.halves["new/1"].actor.fails = True
    bench.see()
    bench.see("new/1", shadow=True)
    assert planner.plan() is not None
    shadow.follow()
    assert bench.slot.report().failed == {"new/1": "in the shadow: out of memory"}


def test_a_shadow_that_does_not_come_back_is_given_up(bench: Bench) -> None:
    planner, actor = bench.planner(ExecutionMode.REALTIME), bench.halves["new/1"].actor
    with actor.gate, bench.shadow_of(patience_s=0.3):
        bench.see()
        bench.see("new/1", shadow=True)
        assert planner.plan() is not None
        until(lambda: "new/1" in bench.slot.report().failed)
        assert bench.slot.report().failed["new/1"] == "in the shadow: it was not back after 300 ms"
        bench.see()
        assert planner.plan() is not None
    assert bench.bugs.empty()


def test_the_plan_is_fetched_at_once_however_long_thinking_takes(bench: Bench) -> None:
    actor, woken = bench.halves["old/1"].actor, threading.Event()
    planner = bench.planner()
    with ThinkingPlanner(planner, wait=bench.foresights.wait, wake=woken.set) as thinking:
        with actor.gate:
            bench.see()
            assert actor.asked.wait(10.0)
            assert thinking.plan() is None, "it is still thinking"
        assert woken.wait(10.0)
        assert thinking.plan() is not None
        assert thinking.plan() is None, "a plan is fetched once"


def test_what_goes_wrong_while_thinking_ends_the_run() -> None:
    class Broken:
        phase = "broken"

        def plan(self) -> None:
            raise MolaError("the twin is gone")

    woken = threading.Event()
    with ThinkingPlanner(Broken(), wait=lambda _: True, wake=woken.set) as thinking:  # type: ignore[arg-type]
        assert woken.wait(10.0)
        with pytest.raises(MolaError, match="the twin is gone"):
            thinking.plan()


def test_done_divergence_and_silence_end_the_run(bench: Bench) -> None:
    bench.task_done = True
    ending = bench.planner().ending()
    assert ending is not None
    assert ending.outcome == RunPolicy.Result.SUCCEEDED
    bench.task_done = False
    planner = bench.planner(ExecutionMode.REALTIME, divergence_slow=0.5, divergence_stop=0.9)
    for feature in (80.0, 40.0, 20.0, 10.0, 5.0):
        bench.see(feature=feature)
        planner.plan()
        bench.clock.advance(195 * NS_PER_MS)
    ending = planner.ending()
    assert ending is not None
    assert ending.outcome == RunPolicy.Result.FAILED
    assert len(bench.divergences) >= 2
    silent = bench.planner()
    bench.clock.advance(11_000 * NS_PER_MS)
    ending = silent.ending()
    assert ending is not None
    assert ending.outcome == RunPolicy.Result.INPUT_LOST
    assert "is imagination running" in ending.reason


def picture_at(step: int) -> np.ndarray:
    """Something bright that moves by its own width every 100 ms."""
    return np.roll(np.repeat([[1.0, 0, 0, 0, 0, 0, 0, 0]], 4, axis=0).repeat(4, axis=1), 4 * step, axis=1)


def imagined_from(picture: np.ndarray) -> np.ndarray:
    """What a model makes of ``picture`` that knows how things move: features of now and of 200 ms later, (C T F h w)."""
    return np.stack([picture, np.roll(picture, 8, axis=1)]).astype(np.float16)[None, :, None]


@pytest.mark.parametrize(
    "fault", [lambda _step: np.zeros((4, 32)), lambda _step: picture_at(5)], ids=["black", "frozen"]
)
@pytest.mark.parametrize("limited", [True, False], ids=["with limits", "without"])
def test_a_camera_that_shows_what_is_not_there_slows_and_then_ends_a_run_with_limits(
    bench: Bench, fault: Callable[[int], np.ndarray], limited: bool
) -> None:
    limits = {"divergence_slow": 0.3, "divergence_stop": 0.6} if limited else {}
    planner = bench.planner(ExecutionMode.REALTIME, **limits)
    periods_ms: list[int] = []

    def look(picture: np.ndarray) -> None:
        bench.see(features=imagined_from(picture))
        chunk = planner.plan()
        assert chunk is not None
        periods_ms.append(chunk.period_ns // NS_PER_MS)
        bench.clock.advance(95 * NS_PER_MS)  # an answer takes 5

    for step in range(6):
        look(picture_at(step))
    assert planner.ending() is None
    assert max(bench.divergences) == pytest.approx(0.0, abs=1e-5), "the model is right about a camera that works"
    look(fault(6))
    assert periods_ms == [100] * 6 + [200 if limited else 100]
    assert planner.ending() is None, "one picture may be an accident"
    look(fault(7))
    ending = planner.ending()
    if limited:
        assert ending is not None
        assert (ending.outcome, ending.reason) == (
            RunPolicy.Result.FAILED,
            "what was imagined is too far from what happened",
        )
    else:
        assert ending is None
        assert bench.divergences[-1] > 0.6


def test_a_state_of_another_time_is_not_used() -> None:
    states = StateHistory(tolerance_ns=50 * NS_PER_MS)
    with pytest.raises(StateMissingError, match="no robot state"):
        states.at(0)


def test_without_a_bundle_in_service_a_run_is_refused() -> None:
    with EngineSlot(lambda name: FakeHalf(FakeActor(name, FakeClock()))) as slot:
        assert "no bundle is in service" in Bench(slot, {}, FakeClock()).planner().refusal()


def test_a_mode_whose_plans_the_site_does_not_follow_to_their_end_is_refused(bench: Bench) -> None:
    assert bench.planner(ExecutionMode.WHOLE, max_observation_age_ms=1200).refusal() == ""
    assert bench.planner(ExecutionMode.RECEDING, max_observation_age_ms=800).refusal() == ""
    refusal = bench.planner(ExecutionMode.WHOLE, max_observation_age_ms=1199).refusal()
    assert "bundle old/1, mode whole: a plan would be 1200 ms old" in refusal
    assert "max_observation_age_ms is 1199; raise it" in refusal


def test_a_swap_gap_is_what_exceeds_the_usual_cadence() -> None:
    tally = RunTally()
    now_ns = 0
    for bundle_id, interval_ms in (("a", 100), ("a", 100), ("a", 100), ("b", 140), ("b", 100)):
        now_ns += interval_ms * NS_PER_MS
        tally.note(bundle_id, duration_ms=10.0, now_ns=now_ns)
    figures = tally.figures()
    assert figures.swap_gap_ms == pytest.approx(40.0)
    assert (figures.runs, figures.p50_ms) == (2, 10.0)
    tally.pause()
    tally.note("c", duration_ms=10.0, now_ns=now_ns + 10**12)
    assert tally.figures().swap_gap_ms == pytest.approx(40.0), "a pause is no gap"
