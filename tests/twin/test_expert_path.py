"""The expert's paths: smooth, within their limits, joined without a step, and honest about what they rest on."""

from pathlib import Path

import numpy as np
import pytest

from mola_core.contracts.errors import ConfigError
from mola_core.contracts.geometry import transform_from_pose
from mola_core.contracts.site import Site, load_site
from mola_core.contracts.types import ActionSpace
from mola_twin.cell import layout
from mola_twin.expert.clearance import Obstacle, wrap_quarter
from mola_twin.expert.expert import HORIZON, PERIOD_NS, make_expert
from mola_twin.expert.fixtures import PressButton
from mola_twin.expert.home import home_pose
from mola_twin.expert.noise import MISTAKE, RecoveryNoise
from mola_twin.expert.pick_place import GrabBowl
from mola_twin.expert.tool_path import MAX_ACCELERATION, ToolPath, ToolPose, resting
from mola_twin.lockstep import LockstepRig
from mola_twin.tasks.instructions import TASKS


@pytest.fixture(scope="module")
def site() -> Site:
    return load_site(Path(__file__).parents[2] / "launch/sites/twin.yaml")


def test_leg_is_straight_and_keeps_its_limits() -> None:
    path = ToolPath(resting(ToolPose(-0.4, 0.0, 0.3, 0.0)))
    goal = ToolPose(-0.6, 0.2, 0.1, 0.8)
    path.move_to(goal, speed=0.4)
    times = np.arange(0.0, path.duration_s, 0.005)
    states = [path.at(float(time)) for time in times]
    positions = np.array([state.position[:3] for state in states])
    along = np.array([goal.x, goal.y, goal.z]) - positions[0]
    off_line = np.cross(positions - positions[0], along / np.linalg.norm(along))
    assert np.abs(off_line).max() < 1e-6
    assert max(np.linalg.norm(state.velocity[:3]) for state in states) < 0.4001
    assert max(np.linalg.norm(state.acceleration[:3]) for state in states) < MAX_ACCELERATION + 1e-6
    assert path.at(path.duration_s + 1.0).pose.distance(goal) < 1e-9


def test_continued_path_stays_on_its_leg() -> None:
    path = ToolPath(resting(ToolPose(-0.4, 0.0, 0.3, 0.0)))
    goal = ToolPose(-0.5, 0.1, 0.2, 0.0)
    path.move_to(goal, speed=0.4)
    later = path.continued(0.3, start=path.at(0.3), goal=goal)
    for time in np.linspace(0.0, 1.0, 20):
        assert later.at(float(time)).pose.distance(path.at(0.3 + float(time)).pose) < 1e-12
    elsewhere = path.continued(0.3, start=path.at(0.3), goal=goal.moved(x=0.1))
    assert not elsewhere.leads_somewhere


def test_pose_survives_the_matrix() -> None:
    pose = ToolPose(-0.4, 0.1, 0.2, 1.1)
    again = ToolPose.from_transform(pose.transform)
    assert again.distance(pose) < 1e-12
    assert again.yaw == pytest.approx(pose.yaw)


def test_half_turns_are_the_same_grasp() -> None:
    for yaw in np.linspace(-10, 10, 101):
        wrapped = wrap_quarter(float(yaw))
        assert -np.pi / 2 < wrapped <= np.pi / 2
        assert np.sin(wrapped - yaw) == pytest.approx(0.0, abs=1e-9)


def test_distance_to_a_turned_rectangle() -> None:
    wall = Obstacle(0.0, 0.0, np.pi / 2, 0.2, 0.1, 0.0, 0.1)
    assert wall.distance(0.0, 0.3) == pytest.approx(0.1)
    assert wall.distance(0.3, 0.0) == pytest.approx(0.2)
    assert wall.distance(0.0, 0.0) == pytest.approx(-0.1)


def test_unknown_task_is_refused(site: Site) -> None:
    with pytest.raises(ConfigError, match=r"'dance'.*bottle_in_bin"):
        make_expert("dance", site)


@pytest.mark.parametrize("task", TASKS)
def test_chunks_join_and_say_what_they_rest_on(site: Site, task: str) -> None:
    """Under jittered calls, a chunk begins where the one before would have been, within the dynamics of a call's delay."""
    jitter = np.random.default_rng(0)
    with LockstepRig(site) as rig:
        rig.reset(task=task, seed=3)
        expert = make_expert(task, site)
        before = None
        for _ in range(40):
            seen = rig.observe()
            now_ns = rig.clock.now_ns()
            chunk = expert.act(truth=seen.truth, state=seen.state, now_ns=now_ns)
            assert chunk.space is ActionSpace.TCP
            assert chunk.targets.shape == (HORIZON, 6)
            assert chunk.period_ns == PERIOD_NS
            assert chunk.stamp_ns == min(seen.truth.stamp_ns, seen.state.stamp_ns)
            assert ((chunk.gripper_openings >= 0) & (chunk.gripper_openings <= 1)).all()
            positions = chunk.targets[:, :3]
            assert np.linalg.norm(np.diff(positions, axis=0), axis=1).max() < 0.5 * PERIOD_NS / 1e9
            if before is not None:
                rows = (now_ns - before.start_ns) / PERIOD_NS
                expected = np.array([np.interp(rows, np.arange(HORIZON), before.targets[:, axis]) for axis in range(3)])
                assert np.linalg.norm(positions[0] - expected) < 2e-3
            for target in chunk.targets:
                assert transform_from_pose(target)[2, 2] == pytest.approx(-1.0, abs=1e-6), "the tool points down"
            before = chunk
            rig.step(chunk, duration_s=float(jitter.choice([0.034, 0.05, 0.1])))


def test_noise_is_seeded_and_changes_the_path(site: Site) -> None:
    def targets(noise: RecoveryNoise | None) -> np.ndarray:
        with LockstepRig(site) as rig:
            rig.reset(task="grab_bowl", seed=1)
            expert = make_expert("grab_bowl", site, noise=noise)
            seen = rig.observe()
            return expert.act(truth=seen.truth, state=seen.state, now_ns=rig.clock.now_ns()).targets

    noisy = [targets(RecoveryNoise(detour_probability=1.0, aim_m=0.02, seed=4)) for _ in range(2)]
    assert np.array_equal(noisy[0], noisy[1])
    assert not np.allclose(noisy[0], targets(None))


def test_an_attempt_that_misses_closes_beside_the_thing_and_has_nothing_more_to_do(site: Site) -> None:
    with LockstepRig(site) as rig:
        rig.reset(task="grab_bowl", seed=1)
        truth = rig.observe().truth
    tool = home_pose()
    planned = GrabBowl().begin(truth, tool)
    noise = RecoveryNoise(miss_probability=1.0, seed=3)
    missed = noise.disturb(planned)
    names = [stage.name for stage in missed]
    assert names[-3:] == [MISTAKE] * 3
    assert "above" in names, "what comes before the mistake is imitated"
    meant = planned[[stage.name for stage in planned].index("close")].target(truth, tool)
    closing = missed[-1].target(truth, tool)
    assert noise.miss_m[0] <= closing.distance(meant) <= noise.miss_m[1]
    assert missed[-1].opening == 0.0
    assert [stage.name for stage in noise.disturb(planned)] == [stage.name for stage in planned], "only once"


def test_nothing_is_missed_where_nothing_is_taken(site: Site) -> None:
    with LockstepRig(site) as rig:
        rig.reset(task="press_button", seed=1)
        truth = rig.observe().truth
    planned = PressButton().begin(truth, home_pose())
    noise = RecoveryNoise(miss_probability=1.0, seed=3)
    assert [stage.name for stage in noise.disturb(planned)] == [stage.name for stage in planned]


def test_the_bowl_is_taken_on_the_same_side_wherever_there_is_room(site: Site) -> None:
    """Which of two equal sides it is must not depend on what nobody can see, the number of the stave that comes first."""
    sides = []
    with LockstepRig(site) as rig:
        for seed in range(8):
            rig.reset(task="grab_bowl", seed=seed)
            truth = rig.observe().truth
            skill = GrabBowl()
            above = next(stage for stage in skill.begin(truth, home_pose()) if stage.name == "above")
            sides.append(above.target(truth, home_pose()).y - float(truth.objects["bowl"].position[1]))
    assert sum(side < 0.0 for side in sides) >= 7, sides


def test_obstacles_stand_where_the_layout_says() -> None:
    assert 2 * layout.CABINET_HALF[2] > layout.HANDLE_HEIGHT
    assert layout.HANDLE_STANDOFF - layout.HANDLE_RADIUS > 0.018 + 0.42 * layout.STROKE / 2 - layout.HANDLE_RADIUS
