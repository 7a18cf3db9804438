"""How a stream arrives: its rate, its age, its latency, and what was lost of it on the way. Nothing is decoded."""

import struct
from collections import deque
from dataclasses import dataclass
from statistics import median

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S

WINDOW_NS = 2 * NS_PER_S
LEAST_SHARE = 0.8
"""Of the expected rate; below, something is wrong."""
_STAMP = struct.Struct("<iI")
_MAX_SAMPLES = 1000
_SILENCE_NS = NS_PER_S


@dataclass(frozen=True, slots=True)
class StreamExpectation:
    """What is known of a topic before anything arrives."""

    topic: str
    expected_hz: float = 0.0
    """0: it comes when it comes."""
    least_share: float = LEAST_SHARE
    stamp_offset: int | None = None
    """Where the capture stamp lies in the message's bytes; None where it has none."""
    is_numbered: bool = True
    """One publisher: a gap in its running numbers is a loss."""


@dataclass(frozen=True, slots=True)
class StreamCondition:
    """One stream, now."""

    topic: str
    rate_hz: float
    expected_hz: float
    latency_ms: float | None
    """Median from capture to arrival; None: unknown."""
    age_ms: float | None
    """Since the last message; None: none yet."""
    messages: int
    """Arrived since :meth:`StreamWatch.begin_episode`."""
    lost: int
    """By running number, since then."""
    problem: str
    """Why it is not as expected; empty while it is."""


class StreamWatch:
    """Follows one stream; belongs to one thread."""

    def __init__(self, expectation: StreamExpectation) -> None:
        self.expectation = expectation
        self.lost = 0
        self.messages = 0
        self._counts = False
        self._arrivals: deque[int] = deque(maxlen=_MAX_SAMPLES)
        self._latencies: deque[int] = deque(maxlen=_MAX_SAMPLES)
        self._first_ns: int | None = None
        self._last_gone_ns: int | None = None
        """Arrival of the newest message that is older than the window."""
        self._last_sequence: int | None = None

    def begin_episode(self) -> None:
        """Count from here on."""
        self.lost, self.messages, self._counts = 0, 0, True
        self._last_sequence = None  # what was lost before is none of its business

    def end_episode(self) -> None:
        """Count no more."""
        self.lost, self.messages, self._counts = 0, 0, False

    def note(self, data: bytes, *, received_ns: int, sequence: int | None) -> None:
        """A message has arrived."""
        expectation = self.expectation
        if self._first_ns is None:
            self._first_ns = received_ns
        self.messages += self._counts
        self._arrivals.append(received_ns)
        if sequence is not None and expectation.is_numbered:
            if self._counts and self._last_sequence is not None and sequence > self._last_sequence + 1:
                self.lost += sequence - self._last_sequence - 1
            self._last_sequence = sequence  # a smaller one: its publisher was started anew
        offset = expectation.stamp_offset
        if offset is not None and len(data) >= offset + _STAMP.size:
            seconds, nanoseconds = _STAMP.unpack_from(data, offset)
            self._latencies.append(received_ns - seconds * NS_PER_S - nanoseconds)

    def condition(self, *, now_ns: int) -> StreamCondition:
        """How it is now."""
        while self._arrivals and self._arrivals[0] <= now_ns - WINDOW_NS:
            self._last_gone_ns = self._arrivals.popleft()
            if len(self._latencies) > len(self._arrivals):
                self._latencies.popleft()
        age_ns = self._age_ns(now_ns)
        rate_hz = self._rate_hz(now_ns)
        expected_hz = self.expectation.expected_hz
        return StreamCondition(
            topic=self.expectation.topic,
            rate_hz=rate_hz,
            expected_hz=expected_hz,
            latency_ms=median(self._latencies) / NS_PER_MS if self._latencies else None,
            age_ms=None if age_ns is None else age_ns / NS_PER_MS,
            messages=self.messages,
            lost=self.lost,
            problem=self._problem(rate_hz=rate_hz, age_ns=age_ns),
        )

    def _age_ns(self, now_ns: int) -> int | None:
        newest = self._arrivals[-1] if self._arrivals else self._last_gone_ns
        return None if newest is None else now_ns - newest

    def _rate_hz(self, now_ns: int) -> float:
        if self._first_ns is None:
            return 0.0
        span_ns = min(WINDOW_NS, max(now_ns - self._first_ns, NS_PER_S // 4))
        return len(self._arrivals) * NS_PER_S / span_ns

    def _problem(self, *, rate_hz: float, age_ns: int | None) -> str:
        expected_hz = self.expectation.expected_hz
        if not expected_hz:
            return ""
        if age_ns is None:
            return "has not come yet"
        if age_ns > _SILENCE_NS:
            return f"silent for {age_ns / NS_PER_S:.0f} s"
        if rate_hz < self.expectation.least_share * expected_hz:
            return f"comes at {rate_hz:.1f} Hz instead of {expected_hz:g}"
        return ""
