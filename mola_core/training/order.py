"""Which samples a step trains on, as a pure function of the step: nothing to save, nothing to lose."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from mola_core.training.draws import seed_of


@dataclass(frozen=True)
class Share:
    """Samples ``first`` … ``first + size - 1`` make up ``weight`` of every batch, on average."""

    first: int
    size: int
    weight: float


class SampleOrder:
    """Endless batches over shares: each share is gone through in a new order each time round, and none twice before all once."""

    def __init__(self, shares: Sequence[Share], *, batch_size: int, seed: int) -> None:
        empty = [share for share in shares if share.size < 1]
        if not shares or empty:
            raise ValueError(f"every share needs samples, got {list(shares)}")
        self._shares = tuple(shares)
        self._batch_size = batch_size
        self._seed = seed
        weights = np.array([share.weight for share in shares], dtype=np.float64)
        self._ends = np.cumsum(weights / weights.sum())
        self._round: dict[int, tuple[int, Int[np.ndarray, size]]] = {}

    def __len__(self) -> int:
        """Samples altogether."""
        return sum(share.size for share in self._shares)

    def batch(self, step: int) -> Int[np.ndarray, "B"]:
        """Indices of the whole batch of ``step``, all processes together."""
        positions = np.arange(step * self._batch_size, (step + 1) * self._batch_size)
        if len(self._shares) == 1:
            return self._indices(0, positions)
        owner, rank = self._owners(positions)
        indices = np.empty_like(positions)
        for number in range(len(self._shares)):
            mine = owner == number
            indices[mine] = self._indices(number, rank[mine])
        return indices

    def _owners(self, positions: Int[np.ndarray, "B"]) -> tuple[Int[np.ndarray, "B"], Int[np.ndarray, "B"]]:
        """Which share serves each position, and how many it has served before.

        A low-discrepancy walk (golden ratio) keeps every prefix close to the weights; counting the earlier ones needs no state.
        """
        walk = (np.arange(positions[-1] + 1) * 0.6180339887498949) % 1.0
        owner = np.searchsorted(self._ends, walk, side="right").clip(max=len(self._shares) - 1)
        rank = np.empty_like(owner)
        for number in range(len(self._shares)):
            mine = owner == number
            rank[mine] = np.arange(int(mine.sum()))
        return owner[positions], rank[positions]

    def _indices(self, number: int, ranks: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
        share = self._shares[number]
        indices = np.empty_like(ranks)
        for round_ in np.unique(ranks // share.size):
            mine = ranks // share.size == round_
            indices[mine] = share.first + self._shuffled(number, int(round_))[ranks[mine] % share.size]
        return indices

    def _shuffled(self, number: int, round_: int) -> Int[np.ndarray, "size"]:
        known = self._round.get(number)
        if known is None or known[0] != round_:
            generator = np.random.Generator(np.random.Philox(seed_of(self._seed, number, round_)))
            known = round_, generator.permutation(self._shares[number].size)
            self._round[number] = known
        return known[1]


@dataclass(frozen=True)
class Parts:
    """How a batch is divided among ``world_size`` processes and ``accumulate`` parts, one after the other."""

    batch_size: int
    world_size: int
    accumulate: int

    @property
    def size(self) -> int:
        """Samples of one part in one process."""
        return self.batch_size // (self.world_size * self.accumulate)

    def places(self, *, rank: int) -> Iterator[range]:
        """Places in the whole batch of each part of process ``rank``."""
        for part in range(self.accumulate):
            first = (part * self.world_size + rank) * self.size
            yield range(first, first + self.size)
