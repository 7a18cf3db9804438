"""Actions relative to the tool and back, and the scaling around it."""

import numpy as np
import pytest
from pydantic import ValidationError

from mola_core.contracts import geometry
from mola_core.contracts.io_spec import ACTION_SIZE, STATE_SIZE, DataContract
from mola_core.contracts.normalization import (
    Normalization,
    NormalizationError,
    Scaling,
    absolute_actions,
    is_relative,
    relative_actions,
    turned_state,
)
from mola_core.contracts.rotations import matrices_from_rotvecs, rotvecs_from_matrices

DOWN = np.array([2.2214415, -2.2214415, 0.0])
"""A tool pointing straight down: a turn of pi."""


def rotvecs(count: int, rng: np.random.Generator) -> np.ndarray:
    axes = rng.normal(size=(count, 3))
    angles = np.concatenate([[0.0, 1e-9, np.pi - 1e-7, np.pi], rng.uniform(0, np.pi, count - 4)])
    return axes / np.linalg.norm(axes, axis=1, keepdims=True) * angles[:, None]


def test_batched_rotations_are_those_of_geometry() -> None:
    vectors = rotvecs(200, np.random.default_rng(0))
    matrices = matrices_from_rotvecs(vectors)
    for vector, matrix in zip(vectors, matrices, strict=True):
        np.testing.assert_allclose(matrix, geometry.rotation_from_rotvec(vector), atol=1e-15)
    for vector, matrix in zip(rotvecs_from_matrices(matrices), matrices, strict=True):
        np.testing.assert_allclose(vector, geometry.rotvec_from_rotation(matrix), atol=1e-12)


def states_and_actions() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    state = rng.normal(size=(50, STATE_SIZE))
    actions = rng.normal(size=(50, 8, ACTION_SIZE))
    state[:, 9:12] = rotvecs(50, rng)
    actions[..., 3:6] = rotvecs(400, rng).reshape(50, 8, 3)
    return state, actions


def test_relative_actions_are_exactly_invertible() -> None:
    state, actions = states_and_actions()
    back = absolute_actions(relative_actions(actions, state=state), state=state)
    np.testing.assert_allclose(back[..., [0, 1, 2, 6]], actions[..., [0, 1, 2, 6]], atol=1e-14)
    np.testing.assert_allclose(
        matrices_from_rotvecs(back[..., 3:6]), matrices_from_rotvecs(actions[..., 3:6]), atol=1e-12
    )


def test_relative_action_is_the_move_from_here() -> None:
    state = np.zeros(STATE_SIZE)
    state[6:12] = [0.1, 0.2, 0.3, *DOWN]
    turn = np.array([0.0, 0.0, 0.1])
    target = geometry.rotvec_from_rotation(geometry.rotation_from_rotvec(DOWN) @ geometry.rotation_from_rotvec(turn))
    action = np.array([[0.11, 0.2, 0.25, *target, 0.4]])
    np.testing.assert_allclose(
        relative_actions(action, state=state)[0], [0.01, 0.0, -0.05, 0.0, 0.0, 0.1, 0.4], atol=1e-9
    )


def test_orientation_of_the_state_does_not_jump_at_pi() -> None:
    """Two tools a milliradian apart have opposite rotation vectors; seen from the reference they are close."""
    rotation = geometry.rotation_from_rotvec(DOWN)
    pair = np.zeros((2, STATE_SIZE))
    for row, turn in zip(pair, (1e-3, -1e-3), strict=True):
        row[9:12] = geometry.rotvec_from_rotation(rotation @ geometry.rotation_from_rotvec(np.array([turn, turn, 0.0])))
    turned = turned_state(pair, reference=tuple(DOWN))
    assert np.linalg.norm(turned[0, 9:12] - turned[1, 9:12]) < 4e-3


def normalization() -> Normalization:
    return Normalization(
        state=Scaling(offset=(0.1,) * STATE_SIZE, scale=(2.0,) * STATE_SIZE),
        action=Scaling(offset=(0.0,) * 6 + (0.5,), scale=(0.05,) * 6 + (0.5,)),
        reference=(2.2, -2.2, 0.0),
    )


def test_normalised_actions_come_back_through_json() -> None:
    state, actions = states_and_actions()
    there = normalization()
    back = Normalization.model_validate_json(there.model_dump_json())
    assert back == there
    returned = back.denormalize_actions(there.normalize_actions(actions, state=state), state=state)
    np.testing.assert_allclose(returned[..., [0, 1, 2, 6]], actions[..., [0, 1, 2, 6]], atol=1e-6)
    np.testing.assert_allclose(
        matrices_from_rotvecs(returned[..., 3:6]), matrices_from_rotvecs(actions[..., 3:6]), atol=1e-5
    )


def test_nan_is_named_with_its_place() -> None:
    state, actions = states_and_actions()
    actions[3, 2, 1] = np.nan
    with pytest.raises(NormalizationError, match=r"action holds nan at index \(3, 2, 1\)"):
        normalization().normalize_actions(actions, state=state)


def test_scales_must_be_positive() -> None:
    with pytest.raises(ValidationError, match="positive"):
        Scaling(offset=(0.0,), scale=(0.0,))


def test_only_our_own_layout_is_relative() -> None:
    ours = DataContract(cameras=("wrist",), period_ns=100_000_000)
    assert is_relative(ours)
    assert not is_relative(ours.model_copy(update={"action": ("dx", "dy")}))
