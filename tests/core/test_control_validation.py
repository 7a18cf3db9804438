"""The door: what is refused, and that the refusal names the value."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S
from mola_core.contracts.errors import ChunkRejectedError, UnreachablePoseError
from mola_core.contracts.geometry import pose_from_transform
from mola_core.contracts.site import load_site
from mola_core.contracts.types import ActionChunk, ActionSpace
from mola_core.control.joint_chunk import JointChunk
from mola_core.control.kinematics import forward_kinematics
from mola_core.control.validation import SolvedPlan, prepare_chunk

SITE = load_site(Path(__file__).parents[2] / "launch" / "sites" / "twin.yaml")
HOME = np.array(SITE.arm.home)
STALEST_NS = SITE.safety.max_observation_age_ms * NS_PER_MS
NOW = 10**15


def chunk(**changes: Any) -> ActionChunk:
    rows = np.tile(HOME, (8, 1))
    rows[:, 0] += 0.01 * np.arange(8)
    sound = ActionChunk(
        sequence=5,
        source="policy",
        bundle_id="b1",
        stamp_ns=NOW - 60 * NS_PER_MS,
        alive_stamp_ns=NOW - 20 * NS_PER_MS,
        start_ns=NOW + 30 * NS_PER_MS,
        period_ns=33_333_333,
        space=ActionSpace.JOINT,
        targets=rows,
        gripper_openings=np.full(8, 0.5),
        execute_steps=4,
        final=False,
    )
    return replace(sound, **changes)


def prepare(made: ActionChunk, **options: Any) -> JointChunk:
    return prepare_chunk(made, site=SITE, now_ns=NOW, commanded=HOME, **options)


def with_value(index: tuple[int, int], value: float) -> np.ndarray:
    rows = chunk().targets.copy()
    rows[index] = value
    return rows


def test_a_sound_chunk_passes_unchanged() -> None:
    prepared = prepare(chunk())
    np.testing.assert_array_equal(prepared.joint_targets, chunk().targets)
    assert (prepared.sequence, prepared.source, prepared.bundle_id) == (5, "policy", "b1")
    assert (prepared.execute_steps, prepared.final, prepared.horizon) == (4, False, 8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": np.zeros((8, 5))}, r"shape \(8, 5\)"),
        ({"targets": np.zeros(6)}, r"shape \(6,\)"),
        ({"targets": np.zeros((0, 6)), "gripper_openings": np.zeros(0)}, "0 rows"),
        ({"targets": np.tile(HOME, (65, 1)), "gripper_openings": np.zeros(65)}, "65 rows"),
        ({"gripper_openings": np.zeros(7)}, r"shape \(7,\)"),
        ({"targets": with_value((3, 2), np.nan)}, r"targets\[3, 2\] = nan"),
        ({"targets": with_value((7, 5), np.inf)}, r"targets\[7, 5\] = inf"),
        ({"gripper_openings": np.full(8, 1.01)}, r"gripper_openings\[0\] = 1.01"),
        ({"gripper_openings": np.array([0, 0, np.nan, 0, 0, 0, 0, 0])}, r"gripper_openings\[2\] = nan"),
        ({"period_ns": NS_PER_MS}, "period_ns = 1000000"),
        ({"period_ns": 2 * NS_PER_S}, "period_ns = 2000000000"),
        ({"execute_steps": 0}, "execute_steps = 0"),
        ({"execute_steps": 9}, "execute_steps = 9"),
        ({"sequence": -1}, "sequence = -1"),
        ({"stamp_ns": NOW + 6 * NS_PER_MS, "alive_stamp_ns": NOW + 6 * NS_PER_MS}, "stamp lies 6.0 ms in the future"),
        ({"alive_stamp_ns": NOW + 6 * NS_PER_MS}, "alive_stamp lies 6.0 ms in the future"),
        ({"alive_stamp_ns": NOW - 61 * NS_PER_MS}, "alive_stamp is 1.0 ms older than stamp"),
        ({"stamp_ns": NOW - STALEST_NS - NS_PER_MS}, f"stamp is stale: {STALEST_NS / NS_PER_MS + 1:.1f} ms old"),
        (
            {"stamp_ns": NOW - 200 * NS_PER_MS, "alive_stamp_ns": NOW - 151 * NS_PER_MS},
            "alive_stamp is stale: 151.0 ms",
        ),
        ({"start_ns": NOW + 3 * NS_PER_S}, "3.00 s ahead"),
        ({"start_ns": NOW - NS_PER_S}, "late"),
        ({"targets": with_value((2, 2), 3.2)}, "puts elbow_joint at 3.2000 rad"),
        ({"targets": with_value((4, 0), HOME[0] + 1.0)}, r"targets\[3\] to \[4\] ask shoulder_pan_joint"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ChunkRejectedError, match=message):
        prepare(chunk(**changes))


def test_a_chunk_that_is_not_newer_is_out_of_order() -> None:
    assert prepare(chunk(), newest_sequence=4).sequence == 5
    with pytest.raises(ChunkRejectedError, match="out of order: 5 was accepted"):
        prepare(chunk(), newest_sequence=5)


def test_tcp_poses_become_joints_on_the_branch_of_the_commanded_ones() -> None:
    joints = chunk().targets
    poses = np.array([pose_from_transform(forward_kinematics(row, SITE.arm.tcp_offset)) for row in joints])
    prepared = prepare(chunk(space=ActionSpace.TCP, targets=poses))
    np.testing.assert_allclose(prepared.joint_targets, joints, atol=1e-6)


def test_an_unreachable_pose_is_refused_with_its_row() -> None:
    poses = np.tile(pose_from_transform(forward_kinematics(HOME, SITE.arm.tcp_offset)), (8, 1))
    poses[5, 0] = -2.0
    with pytest.raises(UnreachablePoseError, match=r"targets\[5\]: .*out of the arm's reach"):
        prepare(chunk(space=ActionSpace.TCP, targets=poses))


def test_a_plan_said_once_more_is_not_solved_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    poses = np.tile(pose_from_transform(forward_kinematics(HOME)), (8, 1))
    first = prepare(chunk(space=ActionSpace.TCP, targets=poses))
    solved = SolvedPlan(poses, first.joint_targets)

    def refuse(*_: object, **__: object) -> None:
        raise UnreachablePoseError("solved anew")

    monkeypatch.setattr("mola_core.control.validation.inverse_kinematics", refuse)
    again = prepare(chunk(space=ActionSpace.TCP, targets=poses.copy()), solved=solved)
    np.testing.assert_array_equal(again.joint_targets, first.joint_targets)
    with pytest.raises(UnreachablePoseError, match="solved anew"):
        prepare(chunk(space=ActionSpace.TCP, targets=poses + 1e-6), solved=solved)
