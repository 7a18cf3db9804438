"""What an episode holds, stream by stream: how much, how evenly, and what was lost."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S
from mola_core.data.episodes.meta import EpisodeMeta
from mola_core.data.episodes.reader import EpisodeReader

_GAP_PERIODS = 1.5
"""An interval so much longer than the usual one is a gap."""


@dataclass(frozen=True, slots=True)
class StreamSummary:
    """One stream over the whole episode; intervals are those of arrival."""

    topic: str
    type_name: str
    count: int
    rate_hz: float | None
    """From the usual interval; None below three messages."""
    gaps: int
    """Intervals longer than one and a half usual ones; only for streams with an expected rate."""
    longest_gap_ms: float | None
    lost: int
    """As the recorder counted."""
    size_bytes: int


@dataclass(frozen=True, slots=True)
class EpisodeSummary:
    """A whole episode."""

    path: Path
    meta: EpisodeMeta
    length_s: float
    size_bytes: int
    streams: tuple[StreamSummary, ...]
    sources: dict[str, float]
    """Who commanded the arm, and for how many seconds; the empty name while nobody did."""


@dataclass(slots=True)
class _Tally:
    arrivals: list[int] = field(default_factory=list)
    size_bytes: int = 0


def summarise(path: Path) -> EpisodeSummary:
    """Read the whole episode in folder ``path``, every checksum included.

    Raises:
        EpisodeError: there is none, or it is damaged.
    """
    with EpisodeReader(path) as episode:
        tallies = {topic: _Tally() for topic in episode.streams}
        for raw in episode.raw_messages():
            tally = tallies[raw.topic]
            tally.arrivals.append(raw.received_ns)
            tally.size_bytes += len(raw.data)
        meta = episode.meta
        expected = _expected_topics(meta)
        streams = tuple(
            _stream(
                topic,
                stream.type_name,
                tallies[topic],
                lost=meta.lost.get(topic, 0),
                is_expected=topic in expected,
            )
            for topic, stream in sorted(episode.streams.items())
        )
        return EpisodeSummary(
            path=path,
            meta=meta,
            length_s=((meta.ended_ns or meta.started_ns) - meta.started_ns) / NS_PER_S,
            size_bytes=sum(file.stat().st_size for file in path.iterdir()),
            streams=streams,
            sources=_sources(episode),
        )


def _expected_topics(meta: EpisodeMeta) -> set[str]:
    cameras = meta.streams.cameras.values()
    pictures = {topic for camera in cameras for topic in (camera.color, camera.depth)}
    return {meta.streams.robot_state, meta.streams.commanded, *pictures}


def _stream(topic: str, type_name: str, tally: _Tally, *, lost: int, is_expected: bool) -> StreamSummary:
    arrivals = tally.arrivals
    intervals = [after - before for before, after in pairwise(arrivals)]
    usual = median(intervals) if len(intervals) > 1 else 0
    gaps = [interval for interval in intervals if interval > _GAP_PERIODS * usual] if is_expected and usual else []
    return StreamSummary(
        topic=topic,
        type_name=type_name,
        count=len(arrivals),
        rate_hz=NS_PER_S / usual if usual else None,
        gaps=len(gaps),
        longest_gap_ms=max(intervals) / NS_PER_MS if is_expected and intervals else None,
        lost=lost,
        size_bytes=tally.size_bytes,
    )


def _sources(episode: EpisodeReader) -> dict[str, float]:
    if episode.meta.streams.commanded not in episode.streams:
        return {}
    seconds: Counter[str] = Counter()
    before_ns: int | None = None
    for command in episode.commanded():
        if before_ns is not None:
            seconds[command.source] += command.stamp_ns - before_ns
        before_ns = command.stamp_ns
    return {source: duration_ns / NS_PER_S for source, duration_ns in seconds.items()}
