"""What an episode will give, found out before a row of it is written."""

from collections.abc import Iterator
from dataclasses import dataclass

from mola_core.contracts.clock import NS_PER_MS
from mola_core.contracts.resample import Gap, ResampleLimits, Resampler, Row
from mola_core.data.conversion.items import episode_items, feed
from mola_core.data.episodes import decoding
from mola_core.data.episodes.meta import EpisodeError
from mola_core.data.episodes.reader import EpisodeReader

_TELEOP_STATUS = "mola_interfaces/msg/TeleopStatus"
_BEFORE_NS = 100 * NS_PER_MS
_AFTER_NS = 500 * NS_PER_MS
"""What is kept beyond the motion: the arm settles, and what it let go of comes to rest."""


@dataclass(frozen=True)
class Segment:
    """A stretch of rows without a gap."""

    start_ns: int
    end_ns: int
    """Stamp of the last row."""
    num_rows: int


@dataclass(frozen=True)
class Survey:
    """One episode, before conversion."""

    segments: list[Segment]
    gaps: list[Gap]
    """Between the first row and the last."""
    sizes: dict[str, tuple[int, int]]
    """(width, height) of each camera."""
    late: dict[str, int]
    """By stream: items passed over because their stamp was not later than the one before."""


def survey(episode: EpisodeReader, *, limits: ResampleLimits, keep_idle: bool) -> Survey:
    """Read the episode through once, without decoding or keeping pictures.

    Without ``keep_idle``, the time before and after any chunk was executed is left out.

    Raises:
        EpisodeError: the bag is damaged, or nothing ever moved the arm.
    """
    active = None if keep_idle else _active_span(episode)
    segments: list[Segment] = []
    gaps: list[Gap] = []
    sizes: dict[str, tuple[int, int]] = {}
    rows: list[int] = []
    resampler = Resampler(episode.meta.contract, limits=limits)
    for one in _rows(resampler, episode):
        if not _inside(one, active):
            continue
        if isinstance(one, Gap):
            gaps.append(one)
            _close(rows, segments)
            continue
        rows.append(one.observation.stamp_ns)
        for camera, frame in one.observation.frames.items():
            size = frame.color.shape[1], frame.color.shape[0]
            if sizes.setdefault(camera, size) != size:
                raise EpisodeError(f"{episode.path}: camera {camera} changes from {sizes[camera]} to {size} pixels")
    _close(rows, segments)
    if segments:
        gaps = [gap for gap in gaps if segments[0].start_ns < gap.stamp_ns < segments[-1].end_ns]
    return Survey(segments=segments, gaps=gaps, sizes=sizes, late=resampler.late)


def _rows(resampler: Resampler, episode: EpisodeReader) -> Iterator[Row | Gap]:
    for stream, item in episode_items(episode):
        feed(resampler, stream, item)
        yield from resampler.rows()
    yield from resampler.finish()


def _close(rows: list[int], segments: list[Segment]) -> None:
    if rows:
        segments.append(Segment(start_ns=rows[0], end_ns=rows[-1], num_rows=len(rows)))
    rows.clear()


def _inside(one: Row | Gap, active: tuple[int, int] | None) -> bool:
    stamp_ns = one.stamp_ns if isinstance(one, Gap) else one.observation.stamp_ns
    return active is None or active[0] <= stamp_ns <= active[1]


def _active_span(episode: EpisodeReader) -> tuple[int, int]:
    """From just before the first executed chunk until just after the last."""
    stamps = [commanded.stamp_ns for commanded in episode.commanded() if commanded.source]
    if not stamps:
        raise EpisodeError(f"nothing moved the arm in {episode.path}; mola episode drop, or --keep-idle")
    return stamps[0] - _BEFORE_NS, stamps[-1] + _AFTER_NS


def takeovers(episode: EpisodeReader) -> list[tuple[int, bool]]:
    """(stamp, whether a person had taken over), as the teleoperation node said; empty where there was none."""
    topics = [name for name, stream in episode.streams.items() if stream.type_name == _TELEOP_STATUS]
    if not topics:
        return []
    return [
        (decoding.ns_of(recorded.message.stamp), bool(recorded.message.takeover))
        for recorded in episode.messages(*topics)
    ]


def rows_between(rows: Iterator[Row | Gap], segment: Segment) -> Iterator[Row]:
    """The rows of a segment."""
    for one in rows:
        if isinstance(one, Row) and segment.start_ns <= one.observation.stamp_ns <= segment.end_ns:
            yield one
