"""The datasets of a mixture as training sees them: every row once, split by episodes, and several sources as one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from mola_core.contracts.errors import ConfigError
from mola_core.contracts.io_spec import CameraView, IoSpec
from mola_core.data.errors import BadFileError, DataError
from mola_core.data.opening import open_episodes, open_samples
from mola_core.data.sample import SampleSource, WindowSpec
from mola_core.data.sources.protocol import EpisodeSource
from mola_core.data.windows import Split
from mola_core.training.order import Share
from mola_core.training.recipe import MixturePart, Recipe
from mola_core.training.rows import Rows, rows_of
from mola_core.training.stage import Batch, BatchSource


@dataclass(frozen=True)
class Part:
    """One dataset of a mixture."""

    name: str
    path: Path
    weight: float
    rows: Rows
    """Of all single pictures."""
    cameras: tuple[int, ...]
    """Numbers of the recipe's cameras that this dataset has."""
    period_ns: int
    """Distance of its rows."""
    identity: str
    """Changes with the dataset's content; names what is cached of it."""
    skipped: tuple[DataError, ...]
    """Why each of its bad files is left out, where that was asked for."""
    opener: "Opener"

    def open(self, window: WindowSpec, split: Split = "all") -> SampleSource:
        """The samples of one split under ``window``. Raises DataError where the dataset lacks what the window asks for."""
        return self.opener(window, split)

    def require_period(self, io: IoSpec, *, instead: str) -> None:
        """Refuse windows over cached rows where a row is not as long as the recipe's.

        Raises:
            ConfigError: naming the setting that does without the cache.
        """
        require_period(self.period_ns, io, name=self.name, instead=instead)

    def numbers(self, window: WindowSpec, split: Split) -> Int[np.ndarray, "n"]:
        """Numbers in ``rows`` of the samples of one split under ``window``."""
        return self.rows.numbers_of(rows_of(self.open(window, split)))


Opener = Callable[[WindowSpec, Split], SampleSource]


def require_period(period_ns: int, io: IoSpec, *, name: str, instead: str) -> None:
    """Refuse windows over cached rows of dataset ``name`` where its rows are not as long as the recipe's.

    Raises:
        ConfigError: naming the setting that does without the cache.
    """
    if period_ns != io.contract.period_ns:
        raise ConfigError(
            f"dataset {name} has a row every {period_ns / 1e6:g} ms, the recipe every {io.contract.period_ns / 1e6:g} ms; windows "
            f"over cached rows cannot bridge that: set {instead}"
        )


def open_parts(
    mixture: Sequence[MixturePart], *, recipe: Recipe, data: Mapping[str, Path], skip_bad: bool = False
) -> tuple[Part, ...]:
    """The datasets of ``mixture``, opened; pictures are decoded into a cache beside each dataset on first use.

    ``skip_bad`` leaves out the bad files of foreign datasets; :func:`said_of_skipped` says which.

    Raises:
        DataError: a place without a dataset, or a bad file that is not to be left out.
    """
    return tuple(_open_part(part, recipe=recipe, path=data[part.dataset], skip_bad=skip_bad) for part in mixture)


def said_of_skipped(parts: Sequence[Part]) -> list[str]:
    """How many files each of ``parts`` goes without, and each of them with what is wrong with it; nothing where none was left out."""
    lines = []
    for part in parts:
        if part.skipped:
            lines.append(f"bad files left out of dataset {part.name}: {len(part.skipped)}")
            lines += [
                f"  {error.path}: {error.reason}" if isinstance(error, BadFileError) else f"  {error}"
                for error in part.skipped
            ]
    return lines


def _open_part(part: MixturePart, *, recipe: Recipe, path: Path, skip_bad: bool) -> Part:
    def opener(window: WindowSpec, split: Split) -> SampleSource:
        return open_samples(
            path,
            window,
            contract=recipe.io.contract,
            name=part.dataset,
            split=split,
            validation_share=recipe.validation_share,
            label_teacher=part.teachers,
            cached=recipe.cache_frames,
            skip_bad=skip_bad,
        )

    episodes = open_episodes(path, name=part.dataset, skip_bad=skip_bad)
    return part_of(episodes, views=recipe.io.views, weight=part.weight, opener=opener)


def part_of(episodes: EpisodeSource, *, views: tuple[CameraView, ...], weight: float, opener: Opener) -> Part:
    """``episodes``, opened by ``opener`` for a model that looks through ``views``."""
    cameras = [number for number, view in enumerate(views) if view.camera in episodes.contract.cameras]
    return Part(
        name=episodes.name,
        path=episodes.path,
        weight=weight,
        rows=rows_of(opener(WindowSpec(views=views, offsets=(0,), horizon=0), "all")),
        cameras=tuple(cameras),
        period_ns=episodes.contract.period_ns,
        identity=episodes.digest(),
        skipped=tuple(episodes.skipped),
        opener=opener,
    )


def one_picture(io: IoSpec) -> WindowSpec:
    """The present alone."""
    return WindowSpec(views=io.views, offsets=(0,), horizon=0)


class Chosen:
    """Some samples of a source; a ``BatchSource``."""

    def __init__(self, source: BatchSource, numbers: Int[np.ndarray, "n"]) -> None:
        self._source, self._numbers = source, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def resident(self) -> bool:
        """See :class:`~mola_core.training.stage.BatchSource`."""
        return self._source.resident

    def batch(self, indices: Sequence[int] | Int[np.ndarray, "B"]) -> Batch:
        return self._source.batch(self._numbers[np.asarray(indices)])


class Joined:
    """Several sources behind one range of numbers, in order; a ``BatchSource``."""

    def __init__(self, sources: Sequence[BatchSource]) -> None:
        self._sources = tuple(sources)
        self._ends = np.cumsum([len(source) for source in sources])

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def resident(self) -> bool:
        """See :class:`~mola_core.training.stage.BatchSource`."""
        return all(source.resident for source in self._sources)

    def batch(self, indices: Sequence[int] | Int[np.ndarray, "B"]) -> Batch:
        """Of samples from several sources, whose tensors must be of one shape. DataError where they are not."""
        numbers = np.asarray(indices)
        owner = np.searchsorted(self._ends, numbers, side="right")
        if len(self._sources) == 1:
            return self._sources[0].batch(numbers)
        joined: dict[str, Tensor] = {}
        for number in np.unique(owner):
            mine = np.flatnonzero(owner == number)
            first = 0 if number == 0 else int(self._ends[number - 1])
            for name, tensor in self._sources[number].batch(numbers[mine] - first).items():
                if name not in joined:
                    shape = (len(numbers), *tensor.shape[1:])
                    joined[name] = torch.empty(shape, dtype=tensor.dtype, device=tensor.device)
                if joined[name].shape[1:] != tensor.shape[1:]:
                    raise DataError(
                        f"{name} is {list(tensor.shape[1:])} in dataset {number} of the mixture and {list(joined[name].shape[1:])} in "
                        "one before; make the labels of all with one --view and one --stride"
                    )
                joined[name][torch.from_numpy(mine).to(tensor.device)] = tensor
        return joined


def mixed(sources: Sequence[BatchSource], weights: Sequence[float]) -> tuple[Joined, tuple[Share, ...]]:
    """Sources as one, and their shares of every batch."""
    shares, first = [], 0
    for source, weight in zip(sources, weights, strict=True):
        shares.append(Share(first=first, size=len(source), weight=weight))
        first += len(source)
    return Joined(sources), tuple(shares)


def joined_or_none(sources: Sequence[BatchSource]) -> Joined | None:
    """Those that hold anything, for validation."""
    filled = [source for source in sources if len(source)]
    return Joined(filled) if filled else None
