"""What training knows of a dataset's samples without decoding a picture: episodes, instructions, neighbours in time."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Int

from mola_core.contracts.errors import MolaError
from mola_core.data.sample import SampleSource


@dataclass(frozen=True)
class Rows:
    """One dataset's samples in the order of their numbers."""

    episode: Int[np.ndarray, "N"]
    row: Int[np.ndarray, "N"]
    sentence: Int[np.ndarray, "N"]
    """Number in ``sentences``."""
    sentences: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.episode)

    @cached_property
    def _keys(self) -> Int[np.ndarray, "N"]:
        return _key(self.episode, self.row)

    @cached_property
    def _last(self) -> Int[np.ndarray, "N"]:
        """For each sample, the number of the last one of its episode."""
        ends = np.flatnonzero(np.diff(self.episode, append=-1) != 0)
        return ends[np.searchsorted(ends, np.arange(len(self)))]

    def after(
        self, numbers: Int[np.ndarray, "B"], offsets: tuple[int, ...]
    ) -> tuple[Int[np.ndarray, "B T"], Bool[np.ndarray, "B T"]]:
        """Samples ``offsets`` rows later, the episode's last where it has ended, and whether they exist."""
        wanted = np.asarray(numbers)[:, None] + np.array(offsets)[None, :]
        last = self._last[numbers][:, None]
        return np.minimum(wanted, last), wanted <= last

    def numbers_of(self, other: "Rows") -> Int[np.ndarray, "M"]:
        """Our numbers of the samples of ``other``, another window on the same dataset.

        Raises:
            MolaError: one of them is not among ours.
        """
        keys = _key(other.episode, other.row)
        numbers = np.searchsorted(self._keys, keys).clip(max=len(self) - 1)
        strange = np.flatnonzero(self._keys[numbers] != keys)
        if len(strange):
            at = int(strange[0])
            raise MolaError(f"row {other.row[at]} of episode {other.episode[at]} has no picture; rebuild the dataset")
        return numbers


def rows_of(source: SampleSource) -> Rows:
    """Ask ``source`` for the place of each of its samples.

    Raises:
        MolaError: they are not in the order of episodes and rows.
    """
    places = [source.place(index) for index in range(len(source))]
    known = {sentence: number for number, sentence in enumerate(dict.fromkeys(place.instruction for place in places))}
    rows = Rows(
        episode=np.array([place.episode for place in places], dtype=np.int64),
        row=np.array([place.row for place in places], dtype=np.int64),
        sentence=np.array([known[place.instruction] for place in places], dtype=np.int64),
        sentences=tuple(known),
    )
    backward = np.flatnonzero(np.diff(_key(rows.episode, rows.row)) <= 0)
    if len(backward):
        at = int(backward[0])
        raise MolaError(
            f"dataset {source.name}: episode {rows.episode[at + 1]} row {rows.row[at + 1]} comes after episode "
            f"{rows.episode[at]} row {rows.row[at]}; its samples must be in order"
        )
    return rows


def _key(episode: Int[np.ndarray, "N"], row: Int[np.ndarray, "N"]) -> Int[np.ndarray, "N"]:
    keys: Int[np.ndarray, N] = episode * 2**32 + row
    return keys
