"""What a policy sees and does: the contract that goes with every dataset, checkpoint, bundle and node.

A :class:`DataContract` fixes the meaning of the numbers; its hash travels with everything made from them, and two things
with different hashes never meet. An :class:`IoSpec` adds what one family of models chose on top of it: the size of its views,
how far ahead it acts, how often it is asked.
"""

import hashlib
import json
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from mola_core.contracts.errors import MolaError
from mola_core.contracts.types import JOINT_NAMES

STATE_NAMES = (*JOINT_NAMES, "tcp_x", "tcp_y", "tcp_z", "tcp_rx", "tcp_ry", "tcp_rz", "gripper_opening")
"""A row of state: joint positions in rad, ``base_from_tcp`` in m and as a rotation vector in rad, opening 0..1."""
ACTION_NAMES = ("tcp_x", "tcp_y", "tcp_z", "tcp_rx", "tcp_ry", "tcp_rz", "gripper_opening")
"""A row of action: the commanded ``base_from_tcp`` and opening, absolute; models make it relative for themselves."""
STATE_SIZE, ACTION_SIZE = len(STATE_NAMES), len(ACTION_NAMES)


class ContractMismatchError(MolaError):
    """Two things made under different contracts were about to be used together."""

    exit_code = 2


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataContract(_Record):
    """The meaning of what is recorded, learned from and commanded."""

    version: Literal[1] = 1
    robot: str = "ur5e"
    cameras: tuple[str, ...] = Field(min_length=1)
    """Roles, in the order in which models take them."""
    period_ns: int = Field(gt=0)
    """Distance of the rows of a dataset: row ``k`` holds what was seen at its stamp and commanded from it on."""
    state: tuple[str, ...] = STATE_NAMES
    action: tuple[str, ...] = ACTION_NAMES

    @property
    def hash(self) -> str:
        """16 hexadecimal digits; equal for equal contracts, whatever machine or version computes them."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def require(self, other: "DataContract", *, what: str, where: str) -> None:
        """Refuse to use ``what`` (made under this contract) in ``where`` (made under ``other``).

        Raises:
            ContractMismatchError: names each field that differs, with both values.
        """
        if self == other:
            return
        ours, theirs = self.model_dump(), other.model_dump()
        parts = [f"{name} {ours[name]!r} against {theirs[name]!r}" for name in ours if ours[name] != theirs[name]]
        raise ContractMismatchError(
            f"{what} has contract {self.hash}, {where} has {other.hash}: {'; '.join(parts)}; "
            "convert the data or choose a model made for it"
        )


class CameraView(_Record):
    """How large a network sees one camera; see :mod:`mola_core.contracts.preprocess`."""

    camera: str
    width: int = Field(ge=16, le=1024)
    height: int = Field(ge=16, le=1024)


class IoSpec(_Record):
    """What one model takes and gives."""

    contract: DataContract
    views: tuple[CameraView, ...]
    horizon: int = Field(ge=1, le=256)
    """Rows of an action chunk, ``contract.period_ns`` apart; the first is due one period after the observation."""
    execute_steps: int = Field(ge=1, le=256)
    """Rows executed before the next chunk."""
    foresight_offsets: tuple[int, ...] = Field(min_length=1)
    """The imagined frames, in rows after the observation."""
