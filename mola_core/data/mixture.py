"""Several datasets as one, each with its share of the samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from mola_core.contracts.io_spec import DataContract
from mola_core.data.batch import Batch, collate
from mola_core.data.errors import DataError
from mola_core.data.sample import Motion, Sample, SampleSource, WindowSpec

PAPER_STAGE_1: Mapping[str, int] = {
    "something_something_v2": 170_962,
    "rt_1": 84_236,
    "bridge": 27_196,
    "calvin_abc": 19_120,
    "libero": 6_500,
    "libero_plus": 14_347,
}
"""Trajectories of each dataset in the paper's mixture for the video model (table 6); as weights, every trajectory counts alike."""


@dataclass(frozen=True, slots=True)
class Share:
    """One dataset of a mixture."""

    source: SampleSource
    weight: float
    """Relative to the other shares'; need not add up to anything."""


class Mixture:
    """A :class:`mola_core.data.sample.SampleSource` that joins others.

    Samples are numbered one source after the other; :meth:`draw` picks them by weight.
    """

    def __init__(self, shares: Sequence[Share], *, name: str = "mixture") -> None:
        """Join ``shares``.

        Raises:
            DataError: none, or a weight that is not positive, or windows that differ.
            ContractMismatchError: the windows want actions, and the contracts differ.
        """
        if not shares:
            raise DataError(f"{name} has no dataset")
        for share in shares:
            if not share.weight > 0.0:
                raise DataError(f"{name}: weight {share.weight} of {share.source.name} must be positive")
            if share.source.window != shares[0].source.window:
                raise DataError(f"{name}: {share.source.name} is cut into other windows than {shares[0].source.name}")
            if share.source.window.horizon:
                share.source.contract.require(
                    shares[0].source.contract,
                    what=f"dataset {share.source.name}",
                    where=f"dataset {shares[0].source.name}",
                )
        self.name = name
        self.shares = tuple(shares)
        self._ends = np.cumsum([len(share.source) for share in shares])

    @property
    def contract(self) -> DataContract:
        return self.shares[0].source.contract

    @property
    def window(self) -> WindowSpec:
        return self.shares[0].source.window

    def __len__(self) -> int:
        return int(self._ends[-1])

    def sample(self, index: int) -> Sample:
        number, inner = self._place(index)
        return self.shares[number].source.sample(inner)

    def motion(self, index: int) -> Motion:
        number, inner = self._place(index)
        return self.shares[number].source.motion(inner)

    def batch(self, indices: Sequence[int]) -> Batch:
        places = [self._place(index) for index in indices]
        numbers = {number for number, _ in places}
        if len(numbers) == 1:
            return self.shares[numbers.pop()].source.batch([inner for _, inner in places])
        return collate([self.shares[number].source.sample(inner) for number, inner in places])

    def _place(self, index: int) -> tuple[int, int]:
        number = int(np.searchsorted(self._ends, index, side="right"))
        return number, int(index) - (int(self._ends[number - 1]) if number else 0)

    def draw(self, count: int, *, seed: int, position: int) -> Int[np.ndarray, "count"]:
        """``count`` sample numbers, the ``position``-th such draw of ``seed``: sources by weight, rows of a source uniformly."""
        rng = np.random.default_rng([seed, position])
        weights = np.array([share.weight for share in self.shares])
        owners = rng.choice(len(self.shares), size=count, p=weights / weights.sum())
        sizes = np.diff(self._ends, prepend=0)
        begins = self._ends - sizes
        return begins[owners] + (rng.random(count) * sizes[owners]).astype(np.int64)
