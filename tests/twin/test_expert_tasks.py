"""The expert does the tasks through the real servo path, the same way every time, and recovers from what goes wrong."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mola_core.contracts.errors import ChunkRejectedError, ConfigError
from mola_core.contracts.site import Site, load_site
from mola_core.control.servo_types import ServoState
from mola_twin.cell import layout
from mola_twin.expert.clearance import Grasp, Obstacle, choose
from mola_twin.expert.expert import Expert, make_expert
from mola_twin.expert.pick_place import BLOCK_ROOM_M
from mola_twin.expert.tool_path import ToolPose
from mola_twin.expert.trials import TrialSettings, run_trial
from mola_twin.lockstep import LockstepRig
from mola_twin.tasks.instructions import TASKS
from mola_twin.tasks.variants import VARIANTS

PLAIN = TrialSettings()


@pytest.fixture(scope="module")
def site() -> Site:
    return load_site(Path(__file__).parents[2] / "launch/sites/twin.yaml")


@pytest.mark.parametrize("task", TASKS)
def test_predicate_is_false_before_and_true_after_the_expert(site: Site, task: str) -> None:
    with LockstepRig(site) as rig:
        rig.reset(task=task, seed=11)
        rig.step(None, duration_s=0.1)
        assert not rig.success().done
        trial = run_trial(rig, task=task, seed=11, settings=PLAIN)
        assert trial.success, trial.outcome
        assert 3.0 < trial.duration_s < 13.0
        assert rig.servo.counters.filtered_ticks == 0, "the safety filter had nothing to hold back"


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("task", TASKS)
def test_expert_succeeds_in_every_variant(site: Site, task: str, variant: str) -> None:
    with LockstepRig(site) as rig:
        trials = [run_trial(rig, task=task, seed=seed, settings=TrialSettings(variant=variant)) for seed in range(8)]
    failures = [f"{trial.seed}: {trial.outcome}" for trial in trials if not trial.success]
    assert len(failures) <= 1, failures


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_expert_recovers_from_its_own_mistakes(site: Site, task: str) -> None:
    with LockstepRig(site) as rig:
        trials = [run_trial(rig, task=task, seed=seed, settings=TrialSettings(noise=True)) for seed in range(8)]
    assert sum(trial.success for trial in trials) >= 7, [trial.outcome for trial in trials]


def episode(site: Site, *, seed: int, warm_up: bool) -> list[bytes]:
    """Every state of two seconds of an episode, as bytes."""
    with LockstepRig(site) as rig:
        if warm_up:  # another episode before must not matter
            rig.reset(task="press_button", seed=5)
            rig.step(None, duration_s=0.3)
        rig.reset(task="stack_blocks", seed=seed, variant="distractors")
        begin_ns = rig.clock.now_ns()
        expert = make_expert("stack_blocks", site)
        states = []
        for _ in range(20):
            seen = rig.observe()
            chunk = expert.act(truth=seen.truth, state=seen.state, now_ns=rig.clock.now_ns())
            rig.step(chunk, duration_s=0.1)
            states.append(rig.cell.data.qpos.tobytes() + (chunk.start_ns - begin_ns).to_bytes(8))
        return states


def test_same_seed_gives_the_same_episode_bit_for_bit(site: Site) -> None:
    first = episode(site, seed=2, warm_up=False)
    assert first == episode(site, seed=2, warm_up=True)
    assert first != episode(site, seed=3, warm_up=False)


def test_rig_renders_both_views_with_state_and_truth(site: Site) -> None:
    with LockstepRig(site) as rig:
        rig.reset(task="open_drawer", seed=0)
        seen = rig.observe(render=True, width=128, height=96, depth=True)
        assert set(seen.frames) == {"third_person", "wrist"}
        for frame in seen.frames.values():
            assert frame.color.shape == (96, 128, 3)
            assert frame.depth is not None
            assert 100 < np.median(frame.depth) < 2000
            assert frame.stamp_ns == seen.state.stamp_ns == seen.truth.stamp_ns
        assert seen.state.gripper_opening == pytest.approx(1.0, abs=0.02)
        np.testing.assert_allclose(seen.state.base_from_tcp[:3], layout.HOME_TCP, atol=1e-3)


def test_rig_can_start_away_from_home(site: Site) -> None:
    with LockstepRig(site) as rig:
        rig.reset(task="open_drawer", seed=0, arm_jitter_rad=0.05)
        first = rig.state().joint_positions
        assert 0.01 < np.abs(first - site.arm.home).max() < 0.3
        rig.reset(task="open_drawer", seed=0, arm_jitter_rad=0.05)
        np.testing.assert_array_equal(rig.state().joint_positions, first)


def test_rig_refuses_what_the_servo_path_refuses(site: Site) -> None:
    with LockstepRig(site) as rig:
        rig.reset(task="open_drawer", seed=0)
        expert = make_expert("open_drawer", site)
        seen = rig.observe()
        chunk = expert.act(truth=seen.truth, state=seen.state, now_ns=rig.clock.now_ns())
        chunk.targets[:, 0] -= 2.0
        before_ns = rig.clock.now_ns()
        with pytest.raises(ChunkRejectedError):
            rig.step(chunk, duration_s=0.1)
        assert rig.clock.now_ns() == before_ns
        with pytest.raises(ConfigError, match="press_button"):
            rig.reset(task="juggle", seed=0)


def test_servo_stops_when_the_source_falls_silent(site: Site) -> None:
    with LockstepRig(site) as rig:
        rig.reset(task="grab_bowl", seed=0)
        expert = make_expert("grab_bowl", site)
        for _ in range(5):
            seen = rig.observe()
            rig.step(expert.act(truth=seen.truth, state=seen.state, now_ns=rig.clock.now_ns()), duration_s=0.1)
        assert rig.engaged
        rig.step(None, duration_s=1.5)
        assert rig.servo.state is ServoState.STOPPED
        assert "stale" in rig.stop_reason


def test_expert_reaches_anew_for_a_block_that_moved(site: Site) -> None:
    with LockstepRig(site) as rig:
        start = rig.reset(task="stack_blocks", seed=4)
        expert = make_expert("stack_blocks", site)
        moved = False
        for _ in range(200):
            seen = rig.observe()
            chunk = expert.act(truth=seen.truth, state=seen.state, now_ns=rig.clock.now_ns())
            rig.step(chunk, duration_s=0.1)
            if expert.stage == "descend" and not moved:
                rig.cell.data.qpos[rig.cell.cell.free_qpos[start.stack_top]] += 0.015
                moved = True
            if chunk.final:
                break
        assert moved
        assert expert.num_attempts >= 2
        assert rig.success().done, rig.success().conditions


@pytest.mark.parametrize(
    ("task", "until", "next_stage"),
    [
        ("bottle_in_bin", "carry", "lift"),
        ("grab_bowl", "lift", "lift"),
        ("stack_blocks", "carry", "lift"),
        ("open_drawer", "pull", "close"),
    ],
)
def test_who_takes_over_with_the_thing_in_hand_goes_on_with_it(
    site: Site, task: str, until: str, next_stage: str
) -> None:
    """The one before may have been a policy; what it has taken is not put down for the sake of the order."""
    with LockstepRig(site) as rig:
        rig.reset(task=task, seed=7)
        stages = _act(rig, make_expert(task, site), until=until)
        assert stages[-1] == until
        stages = _act(rig, make_expert(task, site))
        assert stages[0] == next_stage
        assert not {"above", "descend"} & set(stages)
        assert rig.success().done, rig.success().conditions


@pytest.mark.parametrize(("turned", "taken"), [(0.0, -0.7), (0.2, 0.87), (-0.2, -0.7)])
def test_a_block_is_taken_by_the_sides_that_the_tool_is_nearer_to(turned: float, taken: float) -> None:
    grasps = [Grasp(ToolPose(-0.5, 0.0, 0.02, yaw), 0.85) for yaw in (-0.7, 0.87)]
    assert choose(grasps, (), turned=turned, enough_m=BLOCK_ROOM_M).pose.yaw == taken


def test_a_block_is_taken_by_the_other_sides_where_something_is_in_the_way() -> None:
    grasps = [Grasp(ToolPose(-0.5, 0.0, 0.02, yaw), 0.85) for yaw in (0.0, 1.57)]
    beside = Obstacle(-0.5, 0.05, 0.0, 0.02, 0.02, 0.0, 0.04)
    assert choose(grasps, (), turned=0.0, enough_m=BLOCK_ROOM_M).pose.yaw == 0.0
    assert choose(grasps, (beside,), turned=0.0, enough_m=BLOCK_ROOM_M).pose.yaw == 1.57


def _act(rig: LockstepRig, expert: Expert, *, until: str = "") -> list[str]:
    """Let ``expert`` act up to its third row in stage ``until``, or to the end; its stages row by row."""
    stages: list[str] = []
    while len(stages) < 200 and stages.count(until) < 3:
        seen = rig.observe()
        chunk = expert.act(truth=seen.truth, state=seen.state, now_ns=rig.clock.now_ns())
        source = f"until {until}"  # who takes over counts anew
        rig.step(replace(chunk, source=source), duration_s=0.1)
        stages.append(expert.stage)
        if chunk.final:
            break
    return stages


def test_expert_straightens_a_tilted_tool_first(site: Site) -> None:
    with LockstepRig(site) as rig:
        rig.reset(task="press_button", seed=1, arm_jitter_rad=0.12)
        expert = make_expert("press_button", site)
        stages = set()
        for _ in range(150):
            seen = rig.observe()
            chunk = expert.act(truth=seen.truth, state=seen.state, now_ns=rig.clock.now_ns())
            stages.add(expert.stage)
            rig.step(chunk, duration_s=0.1)
            if chunk.final:
                break
        assert "straighten" in stages
        assert rig.success().done
