"""Recorded episodes into a dataset: everything is checked before a row is written, and a run that died is continued."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mola_core.contracts.io_spec import DataContract
from mola_core.contracts.preprocess import view_of
from mola_core.contracts.resample import ResampleLimits, Row
from mola_core.data.conversion.items import episode_rows
from mola_core.data.conversion.survey import Segment, Survey, rows_between, survey, takeovers
from mola_core.data.episodes import layout
from mola_core.data.episodes.meta import EpisodeError, EpisodeMeta, Outcome
from mola_core.data.episodes.reader import EpisodeReader, read_meta
from mola_core.data.lerobot.errors import DatasetError
from mola_core.data.lerobot.reader import LeRobotReader
from mola_core.data.lerobot.writer import LeRobotWriter

Progress = Callable[[str], None]


@dataclass(frozen=True)
class ConversionOptions:
    """How episodes become a dataset."""

    outcomes: frozenset[Outcome] = frozenset({Outcome.SUCCESS})
    """Those of others are left out."""
    limits: ResampleLimits = field(default_factory=ResampleLimits)
    size: tuple[int, int] | None = None
    """(width, height) that every camera is cropped and shrunk to; None keeps what was recorded."""
    keep_idle: bool = False
    """Keep the time before and after any chunk was executed."""
    split: bool = False
    """An episode with a gap becomes several; otherwise it is left out."""
    min_rows: int = 10
    """Shorter pieces are left out."""
    resume: bool = False
    append: bool = False


@dataclass(frozen=True)
class Conversion:
    """What became of the episodes."""

    written: list[str]
    """Episode ids, in the order of the dataset."""
    left_out: dict[str, str]
    """By episode id: why."""
    rows: int
    dataset: LeRobotReader


def find_episodes(paths: Iterable[Path]) -> list[Path]:
    """Folders of episodes: each path is one, or a store with many.

    Raises:
        EpisodeError: a path is neither.
    """
    found: list[Path] = []
    for path in paths:
        if (path / layout.META_NAME).exists():
            found.append(path)
            continue
        inside = sorted(one for one in path.iterdir() if layout.is_id(one.name)) if path.is_dir() else []
        if not inside:
            raise EpisodeError(f"{path} is neither an episode nor a folder of episodes; mola episode list shows them")
        found += inside
    return list(dict.fromkeys(found))


def unfinished(paths: Iterable[Path]) -> dict[str, str]:
    """Recordings in the stores among ``paths`` that were never ended, and what to do about it."""
    folders = [one for path in paths if path.is_dir() for one in sorted(path.iterdir())]
    found = [one for folder in folders if (one := layout.partial_id(folder)) is not None]
    return dict.fromkeys(found, "its recording was never ended; mola episode recover saves it")


def convert(
    paths: Sequence[Path], target: Path, *, options: ConversionOptions, progress: Progress = lambda _line: None
) -> Conversion:
    """Make a dataset at ``target`` of the chosen episodes among ``paths``.

    Raises:
        EpisodeError: a path is no episode, or none is left to convert.
        ContractMismatchError: the episodes do not share one contract; names the first that differs.
        DatasetError: the target exists, or an episode does not fit the others.
    """
    if target.exists() and not options.append:
        raise DatasetError(f"{target} exists already; --append to it, choose another path, or delete it")
    metas = {path: read_meta(path) for path in paths}
    left_out = {
        meta.episode_id: f"outcome {meta.outcome}" for meta in metas.values() if meta.outcome not in options.outcomes
    }
    chosen = {path: meta for path, meta in metas.items() if meta.episode_id not in left_out}
    _require_one_contract(chosen)
    surveys = _survey_all(chosen, options, left_out, progress)
    if not surveys:
        reasons = "; ".join(f"{name}: {why}" for name, why in left_out.items())
        raise EpisodeError(f"no episode is left to convert: {reasons}")
    return _write(surveys, chosen, target, options=options, left_out=left_out, progress=progress)


def _require_one_contract(metas: Mapping[Path, EpisodeMeta]) -> None:
    first: tuple[Path, DataContract] | None = None
    for path, meta in metas.items():
        first = first or (path, meta.contract)
        meta.contract.require(first[1], what=f"episode {path}", where=f"episode {first[0]}")


def _survey_all(
    metas: Mapping[Path, EpisodeMeta], options: ConversionOptions, left_out: dict[str, str], progress: Progress
) -> dict[Path, Survey]:
    surveys = {}
    for number, (path, meta) in enumerate(metas.items(), start=1):
        progress(f"reading {number}/{len(metas)} {meta.episode_id}")
        try:
            with EpisodeReader(path) as episode:
                one = survey(episode, limits=options.limits, keep_idle=options.keep_idle)
        except EpisodeError as error:
            left_out[meta.episode_id] = str(error)
            continue
        kept = [segment for segment in one.segments if segment.num_rows >= options.min_rows]
        if one.gaps and not options.split:
            gap = one.gaps[0]
            left_out[meta.episode_id] = (
                f"{len(one.gaps)} rows are missing, the first {(gap.stamp_ns - meta.started_ns) / 1e9:.1f} s in: "
                f"{gap.reason}; --split keeps the pieces"
            )
        elif not kept:
            left_out[meta.episode_id] = f"no piece of {options.min_rows} rows or more"
        elif not meta.instruction.strip():
            left_out[meta.episode_id] = "it has no instruction; mola episode review gives it one"
        else:
            surveys[path] = replace(one, segments=kept)
    return surveys


def _write(
    surveys: Mapping[Path, Survey],
    metas: Mapping[Path, EpisodeMeta],
    target: Path,
    *,
    options: ConversionOptions,
    left_out: dict[str, str],
    progress: Progress,
) -> Conversion:
    sizes = _sizes(surveys, options)
    contract = metas[next(iter(surveys))].contract
    with LeRobotWriter(
        target, contract=contract, cameras=sizes, resume=options.resume, append=options.append
    ) as writer:
        known = set(writer.episode_ids)
        for number, (path, one) in enumerate(surveys.items(), start=1):
            meta = metas[path]
            if meta.episode_id in known:
                left_out[meta.episode_id] = "it is in the dataset already"
                continue
            progress(f"writing {number}/{len(surveys)} {meta.episode_id}")
            _write_episode(writer, path, one, options=options)
        if not writer.staged_keys:
            raise DatasetError(f"every episode is in {target} already")
        dataset = writer.finalize(progress=progress)
    written = [str(entry.meta.get("episode_id", "")) for entry in dataset.episodes]
    return Conversion(written=written, left_out=left_out, rows=dataset.num_rows, dataset=dataset)


def _sizes(surveys: Mapping[Path, Survey], options: ConversionOptions) -> dict[str, tuple[int, int]]:
    """Of the dataset's cameras."""
    first_path, first = next(iter(surveys.items()))
    for path, one in surveys.items():
        if options.size is None and one.sizes != first.sizes:
            raise DatasetError(f"{path} was recorded at {one.sizes}, {first_path} at {first.sizes}; give one --size")
    return {camera: options.size or size for camera, size in first.sizes.items()}


def _write_episode(writer: LeRobotWriter, path: Path, surveyed: Survey, *, options: ConversionOptions) -> None:
    with EpisodeReader(path) as episode:
        said = takeovers(episode)
        for number, segment in enumerate(surveyed.segments):
            key = episode.meta.episode_id if len(surveyed.segments) == 1 else f"{episode.meta.episode_id}.{number:03d}"
            if key in writer.staged_keys:  # of a run that died
                continue
            writer.begin_episode(key)
            for row in rows_between(episode_rows(episode, limits=options.limits), segment):
                _write_row(writer, row, size=options.size, takeovers=said)
            writer.end_episode(episode.meta.instruction, **_notes(episode.meta, segment, surveyed))


def _write_row(
    writer: LeRobotWriter, row: Row, *, size: tuple[int, int] | None, takeovers: Sequence[tuple[int, bool]]
) -> None:
    seen = row.observation
    images = {
        camera: frame.color if size is None else view_of(frame.color, view_width=size[0], view_height=size[1])
        for camera, frame in seen.frames.items()
    }
    before = bisect_right(takeovers, (seen.stamp_ns, True))
    writer.add_row(
        state=seen.state,
        action=row.action,
        images=images,
        stamp_ns=seen.stamp_ns,
        frame_stamps_ns={camera: frame.stamp_ns for camera, frame in seen.frames.items()},
        intervention=bool(before) and takeovers[before - 1][1],
    )


def _notes(meta: EpisodeMeta, segment: Segment, surveyed: Survey) -> dict[str, object]:
    """What the dataset keeps of an episode beside its rows."""
    return {
        "episode_id": meta.episode_id,
        "piece": surveyed.segments.index(segment),
        "pieces": len(surveyed.segments),
        "outcome": str(meta.outcome),
        "operator": meta.operator,
        "task": meta.task,
        "site": meta.site_name,
        "recovered": meta.recovered,
        "software": meta.software.version,
        "late": surveyed.late,
    }
