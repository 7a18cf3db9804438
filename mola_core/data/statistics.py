"""How large states and actions are: one pass over a source, nothing kept but sums and a sample; from it a model's normalisation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mola_core.contracts.io_spec import STATE_NAMES
from mola_core.contracts.normalization import Normalization, Scaling, is_relative, relative_actions, turned_state
from mola_core.contracts.rotations import matrices_from_rotvecs, rotvecs_from_matrices
from mola_core.data.errors import DataError
from mola_core.data.sample import Motion, SampleSource

LOW, HIGH = 0.005, 0.995
"""Quantiles that are mapped to -1 and 1."""
_RESERVOIR = 20_000
_SMALLEST_SHARE = 0.1
"""A number that hardly varies is scaled as if it varied by this share of what the most variable one of its kind does; or noise
would be blown up to the size of motion."""
_CHUNK = 2048
_TURN = slice(STATE_NAMES.index("tcp_rx"), STATE_NAMES.index("tcp_rz") + 1)


@dataclass(frozen=True)
class ColumnStatistics:
    """Of each number of a row; quantiles from a uniform sample of the rows."""

    count: int
    mean: Float[np.ndarray, "n"]
    std: Float[np.ndarray, "n"]
    low: Float[np.ndarray, "n"]
    high: Float[np.ndarray, "n"]
    smallest: Float[np.ndarray, "n"]
    largest: Float[np.ndarray, "n"]


class StreamedColumns:
    """Takes rows as they come, in blocks; memory does not grow with their number."""

    def __init__(self, width: int, *, seed: int = 0) -> None:
        self._count = 0
        self._mean = np.zeros(width)
        self._squares = np.zeros(width)
        self._smallest = np.full(width, np.inf)
        self._largest = np.full(width, -np.inf)
        self._sample = np.empty((0, width))
        self._keys = np.empty(0)
        self._rng = np.random.default_rng(seed)

    def add(self, rows: Float[np.ndarray, "m n"]) -> None:
        """Take ``rows`` into account (Chan's update of mean and variance; the smallest random keys stay in the sample)."""
        if not len(rows):
            return
        rows = rows.astype(np.float64)
        mean, total = rows.mean(axis=0), self._count + len(rows)
        step = mean - self._mean
        self._squares += ((rows - mean) ** 2).sum(axis=0) + step**2 * self._count * len(rows) / total
        self._mean += step * len(rows) / total
        self._count = total
        self._smallest = np.minimum(self._smallest, rows.min(axis=0))
        self._largest = np.maximum(self._largest, rows.max(axis=0))
        keys = np.concatenate([self._keys, self._rng.random(len(rows))])
        sample = np.concatenate([self._sample, rows])
        if len(keys) > _RESERVOIR:
            kept = np.argpartition(keys, _RESERVOIR)[:_RESERVOIR]
            keys, sample = keys[kept], sample[kept]
        self._keys, self._sample = keys, sample

    def result(self) -> ColumnStatistics:
        """DataError where nothing was added."""
        if not self._count:
            raise DataError("no rows to take statistics of: every action is masked, or the dataset is empty")
        low, high = np.quantile(self._sample, [LOW, HIGH], axis=0)
        return ColumnStatistics(
            count=self._count,
            mean=self._mean,
            std=np.sqrt(self._squares / self._count),
            low=low,
            high=high,
            smallest=self._smallest,
            largest=self._largest,
        )


def normalization_of(sources: Sequence[SampleSource], *, max_samples: int = 200_000) -> Normalization:
    """What maps the bulk of all states and actions of ``sources`` to [-1, 1]; the same sources give the same numbers.

    Args:
        sources: Of one contract, with a horizon.
        max_samples: Of each source; larger ones are thinned out evenly.

    Raises:
        ContractMismatchError: the sources differ in their contracts.
        DataError: no source, no horizon, or nothing unmasked.
    """
    if not sources or not all(source.window.horizon for source in sources):
        raise DataError("a normalisation needs sources with actions (a window with a horizon)")
    contract = sources[0].contract
    for source in sources[1:]:
        source.contract.require(contract, what=f"dataset {source.name}", where=f"dataset {sources[0].name}")
    relative = is_relative(contract)
    reference = _mean_orientation(sources, max_samples=max_samples) if relative else (0.0, 0.0, 0.0)
    states, actions = StreamedColumns(len(contract.state)), StreamedColumns(len(contract.action))
    for block in _blocks(sources, max_samples=max_samples):
        state = np.stack([motion.state for motion in block]).astype(np.float64)
        rows = np.stack([motion.actions for motion in block]).astype(np.float64)
        mask = np.stack([motion.action_mask for motion in block])
        states.add(turned_state(state, reference=reference) if relative else state)
        actions.add((relative_actions(rows, state=state) if relative else rows)[mask])
    return Normalization(
        state=_scaling(states.result(), contract.state),
        action=_scaling(actions.result(), contract.action),
        relative=relative,
        reference=reference,
    )


def _blocks(sources: Sequence[SampleSource], *, max_samples: int) -> Iterator[list[Motion]]:
    for source in sources:
        step = max(1, -(-len(source) // max_samples))
        numbers = range(0, len(source), step)
        for begin in range(0, len(numbers), _CHUNK):
            yield [source.motion(number) for number in numbers[begin : begin + _CHUNK]]


def _mean_orientation(sources: Sequence[SampleSource], *, max_samples: int) -> tuple[float, float, float]:
    """The rotation nearest to all orientations (of the chordal distance), as a rotation vector."""
    total = np.zeros((3, 3))
    for block in _blocks(sources, max_samples=max_samples):
        vectors = np.stack([motion.state for motion in block])[:, _TURN]
        total += matrices_from_rotvecs(vectors.astype(np.float64)).sum(axis=0)
    left, _, right = np.linalg.svd(total)
    handed = np.diag([1.0, 1.0, np.linalg.det(left @ right)])
    x, y, z = (round(float(value), 6) for value in rotvecs_from_matrices(left @ handed @ right))
    return x, y, z


def _scaling(columns: ColumnStatistics, names: Sequence[str]) -> Scaling:
    half = (columns.high - columns.low) / 2.0
    kinds = [_kind(name) for name in names]
    widest = {kind: max(half[at] for at, other in enumerate(kinds) if other == kind) for kind in kinds}
    floor = np.array([max(_SMALLEST_SHARE * widest[kind], 1e-6) for kind in kinds])
    return Scaling(
        offset=tuple(float(value) for value in (columns.high + columns.low) / 2.0),
        scale=tuple(float(value) for value in np.maximum(half, floor)),
    )


def _kind(name: str) -> str:
    """Numbers of one kind share a unit."""
    if name.startswith("tcp_"):
        return "turn" if name.startswith("tcp_r") else "place"
    return "joint" if name.endswith("_joint") else name
