"""Kinematics: against the DH table multiplied out, and against itself."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mola_core.contracts.errors import UnreachablePoseError
from mola_core.contracts.geometry import rotvec_from_rotation
from mola_core.control.kinematics import (
    all_inverse_solutions,
    arm_frames,
    forward_kinematics,
    inverse_kinematics,
    jacobian,
)

LOW, HIGH = [-6.2, -6.2, -3.1, -6.2, -6.2, -6.2], [6.2, 6.2, 3.1, 6.2, 6.2, 6.2]
HALF = math.pi / 2
DH = [(0.1625, 0, HALF), (0, -0.425, 0), (0, -0.3922, 0), (0.1333, 0, HALF), (0.0997, 0, -HALF), (0.0996, 0, 0)]

joints = st.lists(st.floats(-3.0, 3.0), min_size=6, max_size=6)


def product_of_dh(q: list[float]) -> np.ndarray:
    pose = np.eye(4)
    for theta, (d, a, alpha) in zip(q, DH, strict=True):
        c, s, ca, sa = math.cos(theta), math.sin(theta), math.cos(alpha), math.sin(alpha)
        pose = pose @ np.array([[c, -s * ca, s * sa, a * c], [s, c * ca, -c * sa, a * s], [0, sa, ca, d], [0, 0, 0, 1]])
    return pose


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(max(np.abs(a[:3, 3] - b[:3, 3]).max(), np.abs(rotvec_from_rotation(a[:3, :3].T @ b[:3, :3])).max()))


@given(joints)
def test_forward_kinematics_is_the_product_of_the_dh_matrices(q: list[float]) -> None:
    np.testing.assert_allclose(forward_kinematics(q), product_of_dh(q), atol=1e-12)


@given(joints)
@settings(max_examples=300)
def test_every_inverse_solution_reaches_the_pose(q: list[float]) -> None:
    pose = forward_kinematics(q)
    solutions = all_inverse_solutions(pose, wrist_3_at_singularity=q[5])
    assert len(solutions) >= 2
    for solution in solutions:
        assert distance(forward_kinematics(solution), pose) < 1e-6


@given(joints)
@settings(max_examples=300)
def test_inverse_kinematics_returns_the_configuration_it_is_seeded_with(q: list[float]) -> None:
    pose = forward_kinematics(q)
    solution = inverse_kinematics(pose, near=q, position_min=LOW, position_max=HIGH)
    assert distance(forward_kinematics(solution), pose) < 1e-6
    if abs(math.sin(q[4])) > 1e-3 and abs(math.sin(q[2])) > 1e-3:
        assert sum((solution - np.array(q)) ** 2) <= 1e-6


@pytest.mark.parametrize("wrist_2", [0.0, 1e-9, -1e-8, 1e-6, math.pi - 1e-9])
def test_wrist_singularity_keeps_the_seeded_wrist_3(wrist_2: float) -> None:
    q = [0.3, -1.2, 1.1, -0.7, wrist_2, 2.0]
    solution = inverse_kinematics(forward_kinematics(q), near=q, position_min=LOW, position_max=HIGH)
    np.testing.assert_allclose(solution, q, atol=1e-5)


def test_stretched_elbow_is_reachable() -> None:
    q = [0.1, -0.8, 0.0, 0.2, 1.0, 0.4]
    pose = forward_kinematics(q)
    assert (
        distance(forward_kinematics(inverse_kinematics(pose, near=q, position_min=LOW, position_max=HIGH)), pose) < 1e-6
    )


def test_full_turns_are_taken_towards_the_seed() -> None:
    q = np.array([0.2, -1.4, 1.5, -1.6, -1.5, 0.3])
    near = q + np.array([0, 0, 0, 0, 0, 2 * math.pi - 0.6])
    solution = inverse_kinematics(forward_kinematics(q), near=near, position_min=LOW, position_max=[6.6] * 6)
    np.testing.assert_allclose(solution, [*q[:5], q[5] + 2 * math.pi], atol=1e-9)
    bounded = inverse_kinematics(forward_kinematics(q), near=near, position_min=q - 1, position_max=q + 1)
    np.testing.assert_allclose(bounded, q, atol=1e-9)


@pytest.mark.parametrize(("offset", "message"), [([1.5, 0, 0], "out of the arm's reach"), ([0, 0, 0.3], "reach")])
def test_unreachable_pose_is_named(offset: list[float], message: str) -> None:
    pose = np.eye(4)
    pose[:3, 3] = offset
    with pytest.raises(UnreachablePoseError, match=message):
        inverse_kinematics(pose, near=[0.0] * 6, position_min=LOW, position_max=HIGH)


def test_solutions_outside_the_limits_are_named() -> None:
    q = [0.2, -1.4, 1.5, -1.6, -1.5, 0.3]
    with pytest.raises(UnreachablePoseError, match="outside position_min"):
        inverse_kinematics(forward_kinematics(q), near=q, position_min=[-0.01] * 6, position_max=[0.01] * 6)


@given(joints)
@settings(max_examples=50)
def test_jacobian_is_the_derivative_of_the_tcp(q: list[float]) -> None:
    tcp_offset = (0.01, -0.02, 0.16, 0.1, 0.2, -0.3)
    analytic, step = jacobian(q, tcp_offset), 1e-6
    for joint in range(6):
        shifted = [[value + sign * step * (k == joint) for k, value in enumerate(q)] for sign in (-1, 1)]
        before, after = (forward_kinematics(p, tcp_offset) for p in shifted)
        np.testing.assert_allclose(analytic[:3, joint], (after - before)[:3, 3] / (2 * step), atol=1e-6)
        spin = rotvec_from_rotation(after[:3, :3] @ before[:3, :3].T) / (2 * step)
        np.testing.assert_allclose(analytic[3:, joint], spin, atol=1e-6)


def test_link_lengths_of_the_frames() -> None:
    frames = arm_frames([0.4, -1.0, 0.9, -1.1, 0.5, 2.0])
    assert math.dist(frames.shoulder, frames.elbow) == pytest.approx(0.425)
    assert math.dist(frames.elbow, frames.wrist) == pytest.approx(0.3922)
    assert math.dist(frames.wrist, frames.wrist_1) == pytest.approx(0.1333)
    assert math.dist(frames.wrist_1, frames.wrist_2) == pytest.approx(0.0997)
    assert math.dist(frames.wrist_2, frames.flange) == pytest.approx(0.0996)
