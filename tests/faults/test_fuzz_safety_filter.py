"""No command ever leaves the limits, whatever the chunks say. The judge shares no code with the filter."""

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mola_core.contracts.clock import NS_PER_MS
from mola_core.contracts.errors import ChunkRejectedError
from mola_core.contracts.site import Site, load_site
from mola_core.contracts.types import ActionChunk, RobotMode, SafetyMode
from mola_core.control.clearance import ClearanceProof
from mola_core.control.collision import CollisionModel
from mola_core.control.motion import JointMotion
from mola_core.control.safety_filter import SafetyFilter
from mola_core.control.servo_core import ServoCore
from mola_core.control.servo_types import ChunkOutcome, ServoState
from mola_core.control.validation import prepare_chunk
from mola_nodes.faults.chunk_fuzzer import ChunkFuzzer
from mola_nodes.faults.command_checker import check_commands

SITE = load_site(Path(__file__).parents[2] / "launch" / "sites" / "twin.yaml")
PERIOD_NS = 2 * NS_PER_MS
NUM_CHUNKS = int(os.environ.get("MOLA_FUZZ_CHUNKS", "1000000"))


@dataclass
class PerfectArm:
    """Is at once where it was told to be."""

    joint_positions: np.ndarray
    robot_mode: RobotMode = RobotMode.RUNNING
    safety_mode: SafetyMode = SafetyMode.NORMAL


@dataclass
class Tally:
    """What a fuzz run went through; a run that moved nothing has shown nothing."""

    chunks: int = 0
    prepared: int = 0
    accepted: int = 0
    ticks: int = 0
    moving_ticks: int = 0
    filtered_ticks: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(**{name: getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__})


class Rig:
    """A servo core in front of a perfect arm, and the record of what was sent."""

    def __init__(self, site: Site, *, start: np.ndarray) -> None:
        self.site = site
        self.core = ServoCore(site)
        self.arm = PerfectArm(start)
        self.now_ns = 10**15
        self.sent: list[np.ndarray] = [start] * 4
        self.tick()

    def offer(self, chunk: ActionChunk) -> bool:
        try:
            prepared = prepare_chunk(chunk, site=self.site, now_ns=self.now_ns, commanded=self.arm.joint_positions)
        except ChunkRejectedError:
            return False
        self.core.offer(prepared)
        return True

    def tick(self, *, stall_ticks: int = 0) -> None:
        self.now_ns += PERIOD_NS * (1 + stall_ticks)
        command = self.core.tick(self.now_ns, self.arm)
        self.arm.joint_positions = command.joint_target
        self.sent.append(command.joint_target)

    def violations(self) -> list[str]:
        found = check_commands(np.array(self.sent), site=self.site)
        self.sent = self.sent[-4:]
        return [str(violation) for violation in found]


def fuzz(seed: int, num_chunks: int) -> Tally:
    """Send ``num_chunks`` chunks; raises on the first command outside any limit."""
    random = np.random.default_rng(seed)
    fuzzer = ChunkFuzzer(SITE, seed=seed)
    tally = Tally()
    while tally.chunks < num_chunks:
        rig = Rig(SITE, start=_somewhere(random))
        for _ in range(min(2000, num_chunks - tally.chunks)):
            tally.chunks += 1
            if rig.core.state is ServoState.STOPPED:
                rig.core.resume()
            if rig.offer(fuzzer.chunk(now_ns=rig.now_ns, commanded=rig.arm.joint_positions)):
                tally.prepared += 1
                _run_on(rig, random, tally)
        tally.accepted += rig.core.counters.outcomes[ChunkOutcome.ACCEPTED]
        tally.filtered_ticks += rig.core.counters.filtered_ticks
        violations = rig.violations()
        assert not violations, f"seed {seed}, before chunk {tally.chunks}: {violations}"
    return tally


def _run_on(rig: Rig, random: np.random.Generator, tally: Tally) -> None:
    if random.random() < 0.003:
        rig.core.stop("fuzz")
    rig.arm.safety_mode = SafetyMode.PROTECTIVE_STOP if random.random() < 0.003 else SafetyMode.NORMAL
    for _ in range(int(random.choice([1, 3, 10, 40], p=[0.5, 0.3, 0.15, 0.05]))):
        rig.tick(stall_ticks=int(random.integers(1, 40)) if random.random() < 0.002 else 0)
        tally.ticks += 1
        tally.moving_ticks += not rig.core.motion.is_at_rest


def _somewhere(random: np.random.Generator) -> np.ndarray:
    """A start inside the workspace, most often home."""
    home = np.array(SITE.arm.home)
    model = CollisionModel(SITE)
    for _ in range(50):
        start = home + random.uniform(-1.0, 1.0, 6) * np.array([1.5, 0.4, 0.5, 0.6, 0.6, 2.0])
        if min(model.margins(start.tolist())) > 0.001:
            return start
    return home


def test_a_few_thousand_chunks_leave_no_limit() -> None:
    tally = fuzz(seed=1, num_chunks=4000)
    assert tally.accepted > 300
    assert tally.moving_ticks > 1000
    assert tally.filtered_ticks > 100


def test_a_filter_that_proves_nothing_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ClearanceProof, "obstacle", lambda *_: "")
    with pytest.raises(AssertionError, match="beyond"):
        fuzz(seed=1, num_chunks=4000)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_million_chunks_leave_no_limit() -> None:
    num_jobs = 20
    with ProcessPoolExecutor(2) as pool:
        tallies = pool.map(fuzz, range(100, 100 + num_jobs), [NUM_CHUNKS // num_jobs] * num_jobs)
        total = sum(tallies, Tally())
    print(total)
    assert total.chunks == NUM_CHUNKS // num_jobs * num_jobs
    assert total.accepted > total.chunks // 20
    assert total.moving_ticks > total.chunks // 4


def test_the_filter_alone_holds_against_arbitrary_commands() -> None:
    random = np.random.default_rng(5)
    gate = SafetyFilter(SITE, period_ns=PERIOD_NS)
    gate.seat(list(SITE.arm.home))
    sent = [np.array(SITE.arm.home)] * 4
    passed = 0
    for _ in range(20_000):
        candidate = _arbitrary_step(gate.motion, random)
        verdict = gate.admit(candidate)
        passed += not verdict.refusal
        sent.append(np.array(verdict.motion.positions))
    assert 1000 < passed < 20_000
    assert not check_commands(np.array(sent), site=SITE)


def _arbitrary_step(motion: JointMotion, random: np.random.Generator) -> JointMotion:
    """One jerk on, mostly possible, sometimes nonsense; with a drift, so that walls are met."""
    dt = PERIOD_NS * 1e-9
    p, v, a = (np.array(x) for x in (motion.positions, motion.velocities, motion.accelerations))
    jerk = np.array(SITE.arm.jerk_max) * (random.uniform(-1.0, 1.0, 6) * random.choice([1.0, 1.0, 1.0, 1.3]) - 5.0 * v)
    jerk = np.clip(jerk + 100.0 * np.sin(random.integers(0, 7) + np.arange(6)), -190.0, 190.0)
    if random.random() < 0.002:
        p = p + random.choice([np.nan, 0.5, 1e-3], 6)
    nexts = (p + dt * (v + dt * (0.5 * a + dt * jerk / 6)), v + dt * (a + 0.5 * dt * jerk), a + dt * jerk)
    return JointMotion(*(list(map(float, x)) for x in nexts))


def test_the_checker_finds_what_is_wrong() -> None:
    home = np.array(SITE.arm.home)
    still = np.tile(home, (10, 1))
    assert not check_commands(still, site=SITE)
    for wrong in ("jerk", "acceleration", "velocity"):
        step = still.copy()
        step[5:, 0] += 0.01
        assert any(wrong in str(violation) for violation in check_commands(step, site=SITE))
    low = still.copy()
    low[:, 1] -= 1.2
    assert any("TCP" in str(violation) or "height" in str(violation) for violation in check_commands(low, site=SITE))
    lost = still.copy()
    lost[3, 3] = np.nan
    assert "not a number" in str(check_commands(lost, site=SITE)[0])


class ServoMachine(RuleBasedStateMachine):
    """The same by hypothesis, which shrinks what it finds to the shortest sequence."""

    @initialize(seed=st.integers(0, 2**32 - 1))
    def begin(self, seed: int) -> None:
        self.rig = Rig(SITE, start=np.array(SITE.arm.home))
        self.fuzzer = ChunkFuzzer(SITE, seed=seed)

    @rule(ticks=st.integers(1, 40), stall=st.integers(0, 100))
    def pass_time(self, ticks: int, stall: int) -> None:
        self.rig.tick(stall_ticks=stall)
        for _ in range(ticks):
            self.rig.tick()

    @rule(count=st.integers(1, 5))
    def chunks(self, count: int) -> None:
        for _ in range(count):
            self.rig.offer(self.fuzzer.chunk(now_ns=self.rig.now_ns, commanded=self.rig.arm.joint_positions))

    @rule()
    def resume(self) -> None:
        self.rig.core.resume()

    @rule()
    def stop(self) -> None:
        self.rig.core.stop("operator")

    @rule(mode=st.sampled_from(SafetyMode))
    def safety_mode(self, mode: SafetyMode) -> None:
        self.rig.arm.safety_mode = mode

    @invariant()
    def every_command_is_within_every_limit(self) -> None:
        if hasattr(self, "rig"):
            assert not self.rig.violations()

    @invariant()
    def nothing_moves_while_stopped(self) -> None:
        if hasattr(self, "rig") and self.rig.core.state is ServoState.STOPPED:
            assert self.rig.core.motion.is_at_rest


TestServoMachine = ServoMachine.TestCase
TestServoMachine.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
