"""From stamped streams to the rows of a data contract: the only resampler, on recorded episodes and on live messages alike.

A row at time ``t`` holds, of each camera, the newest frame not later than ``t``; the arm's state interpolated at ``t``; and what
was commanded at ``t``. It is given as soon as every stream has been seen at ``t`` or beyond, so that it cannot depend on the order
or the moment in which messages come: fed live or from a recording, the rows are equal bit for bit. What is missing is a
:class:`Gap` with a reason, never an invented number.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from jaxtyping import Float

from mola_core.contracts.clock import NS_PER_MS
from mola_core.contracts.geometry import interpolate_poses
from mola_core.contracts.io_spec import DataContract
from mola_core.contracts.types import CommandedState, Frame, RobotState


@dataclass(frozen=True, slots=True)
class ResampleLimits:
    """Beyond what a row has a gap."""

    frame_age_ns: int = 100 * NS_PER_MS
    """How much older than its row a frame may be: three lost frames of a camera at 30 Hz."""
    state_gap_ns: int = 100 * NS_PER_MS
    """Distance of two measured or commanded states across which nothing is interpolated."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen and measured at one instant."""

    stamp_ns: int
    frames: Mapping[str, Frame]
    """Of each camera the newest not later than ``stamp_ns``."""
    state: Float[np.ndarray, "state"]
    """As the contract names it; float64."""


@dataclass(frozen=True, slots=True)
class Row:
    """An observation and what was commanded at the same instant."""

    observation: Observation
    action: Float[np.ndarray, "action"]
    """As the contract names it; float64."""
    source: str
    """Whose chunk was being executed: a policy's or device's name; empty while none was."""
    bundle_id: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Why there is no row at ``stamp_ns``."""

    stamp_ns: int
    reason: str


class _Stamped(Protocol):
    @property
    def stamp_ns(self) -> int: ...


T = TypeVar("T", bound=_Stamped)


class _Stream(Generic[T]):
    """What is still needed of one stream, by ascending stamp."""

    def __init__(self, *, keep_ns: int | None) -> None:
        self._items: list[T] = []
        self._stamps: list[int] = []
        self._keep_ns = keep_ns
        self.late = 0

    def add(self, item: T) -> None:
        if self._stamps and item.stamp_ns <= self._stamps[-1]:
            self.late += 1
            return
        self._items.append(item)
        self._stamps.append(item.stamp_ns)
        if self._keep_ns is not None:
            self.forget_before(item.stamp_ns - self._keep_ns)

    @property
    def oldest_ns(self) -> int | None:
        return self._stamps[0] if self._stamps else None

    @property
    def newest_ns(self) -> int | None:
        return self._stamps[-1] if self._stamps else None

    def around(self, stamp_ns: int) -> tuple[T | None, T | None]:
        """The newest item not later than ``stamp_ns``, and the next one after that."""
        after = bisect_right(self._stamps, stamp_ns)
        before = self._items[after - 1] if after else None
        return before, self._items[after] if after < len(self._items) else None

    def forget_before(self, stamp_ns: int) -> None:
        """Drop what no instant from ``stamp_ns`` on needs."""
        first = bisect_right(self._stamps, stamp_ns) - 1
        if first > 0:
            del self._items[:first], self._stamps[:first]


class Resampler:
    """Takes stamped items of every stream, each in the order of its stamps; gives rows.

    For a recording, and for a learner that watches: feed and read :meth:`rows`, and :meth:`finish` at the end. For a policy that acts:
    ``actions=False``, and ask for :meth:`observation` at :attr:`ready_ns`, the newest instant that is certain.
    """

    def __init__(
        self,
        contract: DataContract,
        *,
        limits: ResampleLimits | None = None,
        actions: bool = True,
        start_ns: int | None = None,
        keep_ns: int | None = None,
    ) -> None:
        """Rows lie ``contract.period_ns`` apart from ``start_ns`` on; by default from where every stream has begun.

        ``keep_ns`` is how much of each stream is kept at most while another is silent; whoever runs for hours gives one.
        """
        self.contract = contract
        self._limits = limits or ResampleLimits()
        self._actions = actions
        self._frames: dict[str, _Stream[Frame]] = {camera: _Stream(keep_ns=keep_ns) for camera in contract.cameras}
        self._states: _Stream[RobotState] = _Stream(keep_ns=keep_ns)
        self._commanded: _Stream[CommandedState] = _Stream(keep_ns=keep_ns)
        self._next_ns = start_ns

    def add_frame(self, camera: str, frame: Frame) -> None:
        """A frame of one of the contract's cameras; those of others are passed over."""
        if camera in self._frames:
            self._frames[camera].add(frame)

    def add_state(self, state: RobotState) -> None:
        """A measured state."""
        self._states.add(state)

    def add_commanded(self, commanded: CommandedState) -> None:
        """A commanded state."""
        self._commanded.add(commanded)

    @property
    def late(self) -> dict[str, int]:
        """Items passed over because their stamp was not later than their stream's newest, by stream."""
        return {name: stream.late for name, stream in self._streams().items() if stream.late}

    def _streams(self) -> "dict[str, _Stream[Frame] | _Stream[RobotState] | _Stream[CommandedState]]":
        streams: dict[str, _Stream[Frame] | _Stream[RobotState] | _Stream[CommandedState]] = {
            **self._frames,
            "robot state": self._states,
        }
        return streams | {"commanded state": self._commanded} if self._actions else streams

    @property
    def ready_ns(self) -> int | None:
        """The newest instant that nothing still to come can change; None before every stream has begun."""
        newest = [stream.newest_ns for stream in self._streams().values()]
        known = [stamp for stamp in newest if stamp is not None]
        return min(known) if len(known) == len(newest) else None

    def observation(self, stamp_ns: int) -> Observation | Gap:
        """What was seen and measured at ``stamp_ns``; not older than the last instant asked for, not beyond :attr:`ready_ns`."""
        frames, state = self._frames_at(stamp_ns), self._state(stamp_ns)
        for stream in self._streams().values():
            stream.forget_before(stamp_ns)
        if isinstance(frames, Gap):
            return frames
        return state if isinstance(state, Gap) else Observation(stamp_ns=stamp_ns, frames=frames, state=state)

    def _frames_at(self, stamp_ns: int) -> dict[str, Frame] | Gap:
        frames = {}
        for camera, stream in self._frames.items():
            frame, _ = stream.around(stamp_ns)
            if frame is None:
                return Gap(stamp_ns, f"{camera}: no frame yet")
            if (age_ns := stamp_ns - frame.stamp_ns) > self._limits.frame_age_ns:
                return Gap(stamp_ns, f"{camera}: newest frame is {age_ns / NS_PER_MS:.0f} ms old")
            frames[camera] = frame
        return frames

    def _state(self, stamp_ns: int) -> Float[np.ndarray, "state"] | Gap:
        pair = self._pair(self._states, stamp_ns, what="robot state")
        if isinstance(pair, Gap):
            return pair
        before, after, fraction = pair
        if before.gripper_opening is None or after.gripper_opening is None:
            return Gap(stamp_ns, "robot state: no gripper opening")
        return np.concatenate(
            [
                before.joint_positions + fraction * (after.joint_positions - before.joint_positions),
                interpolate_poses(before.base_from_tcp, after.base_from_tcp, fraction),
                [before.gripper_opening + fraction * (after.gripper_opening - before.gripper_opening)],
            ]
        )

    def row(self, stamp_ns: int) -> Row | Gap:
        """Observation and action at ``stamp_ns``, under the conditions of :meth:`observation`."""
        pair = self._pair(self._commanded, stamp_ns, what="commanded state")
        observation = self.observation(stamp_ns)
        if isinstance(pair, Gap):
            return pair
        if isinstance(observation, Gap):
            return observation
        before, after, fraction = pair
        if before.gripper_opening is None:
            return Gap(stamp_ns, "commanded state: nothing was asked of the gripper yet")
        pose = interpolate_poses(before.base_from_tcp, after.base_from_tcp, fraction)
        # a gripper is told to be somewhere, at once: its commands hold until the next
        action = np.concatenate([pose, [before.gripper_opening]])
        return Row(observation=observation, action=action, source=before.source, bundle_id=before.bundle_id)

    def _pair(self, stream: _Stream[T], stamp_ns: int, *, what: str) -> tuple[T, T, float] | Gap:
        """The items around an instant, and where between them it lies."""
        before, after = stream.around(stamp_ns)
        if before is None:
            return Gap(stamp_ns, f"{what}: none yet")
        if before.stamp_ns == stamp_ns:
            return before, before, 0.0
        if after is None:
            return Gap(stamp_ns, f"{what}: none after {stamp_ns - before.stamp_ns} ns before")
        gap_ns = after.stamp_ns - before.stamp_ns
        if gap_ns > self._limits.state_gap_ns:
            return Gap(stamp_ns, f"{what}: nothing for {gap_ns / NS_PER_MS:.0f} ms")
        return before, after, (stamp_ns - before.stamp_ns) / gap_ns

    def rows(self) -> Iterator[Row | Gap]:
        """The rows that have become certain since the last call, in order."""
        ready_ns = self.ready_ns
        if ready_ns is not None:
            yield from self._rows_until(ready_ns)

    def finish(self) -> Iterator[Row | Gap]:
        """The rows that are left when nothing more will come, up to the end of the stream that ended last.

        A stream that ended no earlier than its limit allows before the last one has simply ended: that is no gap.
        """
        newest = [stream.newest_ns for stream in self._streams().values()]
        known = [stamp for stamp in newest if stamp is not None]
        if len(known) < len(newest):
            return
        yield from self._rows_until(min(known))
        rest = list(self._rows_until(max(known)))
        tail_ns = max(known) - max(self._limits.frame_age_ns, self._limits.state_gap_ns)
        while rest and isinstance(rest[-1], Gap) and rest[-1].stamp_ns > tail_ns:
            rest.pop()
        yield from rest

    def _rows_until(self, end_ns: int) -> Iterator[Row | Gap]:
        if self._next_ns is None:
            oldest = [stream.oldest_ns for stream in self._streams().values()]
            self._next_ns = max(stamp for stamp in oldest if stamp is not None)
        while self._next_ns <= end_ns:
            stamp_ns, self._next_ns = self._next_ns, self._next_ns + self.contract.period_ns
            yield self.row(stamp_ns)
