"""Numbers for networks: actions relative to where the tool is, and everything scaled to about [-1, 1].

Training, evaluation and the rig use these same functions; the numbers travel in the checkpoint and the bundle as plain JSON.
An action row of the contract is an absolute ``base_from_tcp`` and an opening. Relative to the tool's present pose it is
(position - present position, in base axes; rotation vector of ``R_now.T @ R_target``; opening as it is), which a model can learn
without knowing where on the table it happens. A state's orientation is expressed from a reference in the middle of the data: the
rotation vector of a tool that points straight down has a length of pi and jumps to its opposite at the slightest turn.
"""

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, model_validator

from mola_core.contracts.errors import MolaError
from mola_core.contracts.io_spec import ACTION_NAMES, ACTION_SIZE, STATE_NAMES, STATE_SIZE, DataContract
from mola_core.contracts.rotations import matrices_from_rotvecs, rotvecs_from_matrices

_TCP = slice(STATE_NAMES.index("tcp_x"), STATE_NAMES.index("tcp_rz") + 1)
_TURN = slice(STATE_NAMES.index("tcp_rx"), STATE_NAMES.index("tcp_rz") + 1)


class NormalizationError(MolaError):
    """Numbers do not fit the normalisation that goes with the model."""

    exit_code = 2


def relative_actions(
    actions: Float[np.ndarray, "*batch K 7"], *, state: Float[np.ndarray, "*batch 13"]
) -> Float[np.ndarray, "*batch K 7"]:
    """Absolute actions as seen from the tool's pose in ``state``."""
    now = state[..., None, _TCP]
    turn = np.swapaxes(matrices_from_rotvecs(now[..., 3:]), -1, -2) @ matrices_from_rotvecs(actions[..., 3:6])
    return np.concatenate([actions[..., :3] - now[..., :3], rotvecs_from_matrices(turn), actions[..., 6:]], axis=-1)


def absolute_actions(
    relative: Float[np.ndarray, "*batch K 7"], *, state: Float[np.ndarray, "*batch 13"]
) -> Float[np.ndarray, "*batch K 7"]:
    """Inverse of :func:`relative_actions`; rotation vectors come back with a length of at most pi."""
    now = state[..., None, _TCP]
    turn = matrices_from_rotvecs(now[..., 3:]) @ matrices_from_rotvecs(relative[..., 3:6])
    return np.concatenate([relative[..., :3] + now[..., :3], rotvecs_from_matrices(turn), relative[..., 6:]], axis=-1)


def turned_state(
    state: Float[np.ndarray, "*batch 13"], *, reference: tuple[float, float, float]
) -> Float[np.ndarray, "*batch 13"]:
    """``state`` with its orientation as the rotation vector of ``R_reference.T @ R``."""
    turned = np.array(state, dtype=np.float64)
    matrices = matrices_from_rotvecs(np.array(reference)).T @ matrices_from_rotvecs(turned[..., _TURN])
    turned[..., _TURN] = rotvecs_from_matrices(matrices)
    return turned


class Scaling(BaseModel):
    """``normalised = (value - offset) / scale``, number by number."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    offset: tuple[float, ...]
    scale: tuple[float, ...]

    @model_validator(mode="after")
    def _check(self) -> "Scaling":
        if len(self.offset) != len(self.scale):
            raise ValueError(f"{len(self.offset)} offsets for {len(self.scale)} scales")
        if min(self.scale, default=1.0) <= 0.0:
            raise ValueError(f"scales must be positive, got {min(self.scale)}")
        return self

    def normalize(self, values: Float[np.ndarray, "*batch n"]) -> Float[np.ndarray, "*batch n"]:
        """Scaled, float32."""
        return np.asarray((values - np.array(self.offset)) / np.array(self.scale), dtype=np.float32)

    def denormalize(self, values: Float[np.ndarray, "*batch n"]) -> Float[np.ndarray, "*batch n"]:
        """Inverse of :meth:`normalize`, float64."""
        return np.asarray(values * np.array(self.scale) + np.array(self.offset), dtype=np.float64)


class Normalization(BaseModel):
    """How one model's states and actions are scaled."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    state: Scaling
    action: Scaling
    relative: bool = True
    """Actions are made relative to the tool's pose before they are scaled; only under our own state and action layout."""
    reference: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Rotation vector from which the state's orientation is expressed; used where ``relative`` is."""

    @model_validator(mode="after")
    def _check(self) -> "Normalization":
        sizes = len(self.state.offset), len(self.action.offset)
        if self.relative and sizes != (STATE_SIZE, ACTION_SIZE):
            raise ValueError(f"relative actions need {STATE_SIZE} state and {ACTION_SIZE} action numbers, got {sizes}")
        return self

    def normalize_state(self, state: Float[np.ndarray, "*batch S"]) -> Float[np.ndarray, "*batch S"]:
        """For the network."""
        rows = _finite(state, "state")
        return self.state.normalize(turned_state(rows, reference=self.reference) if self.relative else rows)

    def normalize_actions(
        self, actions: Float[np.ndarray, "*batch K A"], *, state: Float[np.ndarray, "*batch S"]
    ) -> Float[np.ndarray, "*batch K A"]:
        """Absolute rows for the network, given the state (not normalised) they were commanded in."""
        rows = _finite(actions, "action")
        return self.action.normalize(relative_actions(rows, state=state) if self.relative else rows)

    def denormalize_actions(
        self, normalized: Float[np.ndarray, "*batch K A"], *, state: Float[np.ndarray, "*batch S"]
    ) -> Float[np.ndarray, "*batch K A"]:
        """Inverse of :meth:`normalize_actions`."""
        rows = self.action.denormalize(_finite(normalized, "normalised action"))
        return absolute_actions(rows, state=np.asarray(state, dtype=np.float64)) if self.relative else rows


def is_relative(contract: DataContract) -> bool:
    """Whether actions under ``contract`` are absolute tool poses, which models see relative to the present one."""
    return contract.state == STATE_NAMES and contract.action == ACTION_NAMES


def _finite(values: Float[np.ndarray, "*shape"], what: str) -> Float[np.ndarray, "*shape"]:
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise NormalizationError(f"{what} holds {array[where]} at index {where}; the data or the network is broken")
    return array
