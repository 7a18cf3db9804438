"""What every format of datasets is turned into: episodes of rows with pictures. Windows, caches and labels build on this alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float32, UInt8

from mola_core.contracts.io_spec import DataContract
from mola_core.data.errors import DataError

Images = UInt8[np.ndarray, "rows height width 3"]


@dataclass(frozen=True, slots=True)
class EpisodeHeader:
    """What is known of an episode without reading its rows."""

    length: int
    instruction: str
    mistakes: tuple[tuple[int, int], ...] = ()
    """Half-open ranges of rows whose actions are there to be recovered from and not to be imitated."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """What else the dataset notes of it."""


@dataclass(frozen=True)
class EpisodeNumbers:
    """The numbers of an episode of R rows, under the source's contract."""

    state: Float32[np.ndarray, "R S"]
    action: Float32[np.ndarray, "R A"]


class EpisodeSource(Protocol):
    """A dataset as episodes. Several threads may use it; a forked or spawned process opens its files anew."""

    name: str
    path: Path
    contract: DataContract
    """Its cameras are our roles; a source without numbers has an empty state and action."""

    @property
    def action_lead(self) -> int:
        """Rows from "now" to the first action of its chunk: 1 where a row's action is what is commanded at its own instant, 0 where it
        is the command that leads from this row to the next.
        """
        ...

    @property
    def episodes(self) -> Sequence[EpisodeHeader]: ...

    @property
    def skipped(self) -> Sequence[DataError]:
        """Bad files that were left out because that was asked for."""
        ...

    def digest(self) -> str:
        """Changes when the dataset does; names caches."""
        ...

    def numbers(self, episode: int) -> EpisodeNumbers:
        """All numbers of an episode. DataError where they are damaged or not finite."""
        ...

    def frames(self, episode: int, camera: str, rows: Sequence[int] | None = None) -> Images:
        """RGB frames as they are stored; all rows by default. DataError where they cannot be read."""
        ...


def require_finite(numbers: EpisodeNumbers, contract: DataContract, *, where: str) -> EpisodeNumbers:
    """``numbers`` as they are.

    Raises:
        DataError: NaN or infinity, with row and name.
    """
    for kind, names in (("state", contract.state), ("action", contract.action)):
        bad = np.argwhere(~np.isfinite(getattr(numbers, kind)))
        if len(bad):
            row, column = (int(value) for value in bad[0])
            value = getattr(numbers, kind)[row, column]
            raise DataError(
                f"{where}: {kind} has {names[column]} = {value} in row {row}; remove the episode or repair it"
            )
    return numbers


def require_instruction(text: str, *, where: str) -> str:
    """``text`` without blanks around it.

    Raises:
        DataError: there is none.
    """
    if not text.strip():
        raise DataError(f"{where}: the episode has no instruction; models need one, add it or leave the episode out")
    return text.strip()
