"""Rotations and transforms against each other, over the whole sphere and at its awkward points."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mola_core.contracts.geometry import (
    compose_poses,
    inverse_transform,
    pose_from_transform,
    quaternion_from_rotation,
    rotation_from_quaternion,
    rotation_from_rotvec,
    rotvec_from_rotation,
    transform_from_pose,
)

coordinate = st.floats(min_value=-1.0, max_value=1.0, allow_nan=False)
angle = st.floats(min_value=0.0, max_value=np.pi - 1e-6)


@st.composite
def rotvecs(draw: st.DrawFn) -> np.ndarray:
    axis = np.array([draw(coordinate), draw(coordinate), draw(coordinate)])
    norm = np.linalg.norm(axis)
    axis = np.array([0.0, 0.0, 1.0]) if norm < 1e-3 else axis / norm
    return axis * draw(angle)


@given(rotvecs())
def test_rotation_vector_round_trip(rotvec: np.ndarray) -> None:
    np.testing.assert_allclose(rotvec_from_rotation(rotation_from_rotvec(rotvec)), rotvec, atol=1e-6)


@given(rotvecs())
def test_rotations_are_orthonormal_and_right_handed(rotvec: np.ndarray) -> None:
    rotation = rotation_from_rotvec(rotvec)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1.0)


@given(rotvecs())
def test_quaternion_round_trip(rotvec: np.ndarray) -> None:
    rotation = rotation_from_rotvec(rotvec)
    np.testing.assert_allclose(rotation_from_quaternion(quaternion_from_rotation(rotation)), rotation, atol=1e-12)


@pytest.mark.parametrize("axis", np.eye(3))
def test_half_turns_are_stable(axis: np.ndarray) -> None:
    rotation = rotation_from_rotvec(np.pi * axis)
    recovered = rotvec_from_rotation(rotation)
    np.testing.assert_allclose(rotation_from_rotvec(recovered), rotation, atol=1e-9)
    assert np.linalg.norm(recovered) == pytest.approx(np.pi)


def test_a_quarter_turn_about_z_takes_x_to_y() -> None:
    rotation = rotation_from_rotvec(np.array([0.0, 0.0, np.pi / 2]))
    np.testing.assert_allclose(rotation @ np.array([1.0, 0.0, 0.0]), [0.0, 1.0, 0.0], atol=1e-12)


@given(rotvecs(), rotvecs())
def test_inverse_undoes_compose(first: np.ndarray, second: np.ndarray) -> None:
    pose = compose_poses(np.concatenate([second, first]), np.concatenate([first, second]))
    transform = transform_from_pose(pose)
    np.testing.assert_allclose(inverse_transform(transform) @ transform, np.eye(4), atol=1e-9)
    np.testing.assert_allclose(transform_from_pose(pose_from_transform(transform)), transform, atol=1e-6)
