"""Proof that a whole braking motion stays clear, from as few exact margins as possible.

No point of the arm moves further than the sum over the joints of (lever x turn). So one exact margin clears a ball of
configurations around it, and two clear the way between them if together they exceed its length. Most ticks fall into the
ball of an earlier one and cost nothing; ways through narrow places are halved until proven, or refused when that takes
too many looks, which slows the arm down where it is tight.
"""

from collections.abc import Callable, Sequence

from mola_core.control.brake import BrakeMotion
from mola_core.control.collision import CollisionModel

GUARD_M = 0.0005
"""Margins are taken smaller by this much, so that a stretch shorter than twice of it needs no further halving."""
FORGIVEN_M, FORGIVEN_TABLE_M, FORGIVEN_SELF_M = 0.05, 0.004, 0.015
"""How far outside workspace, table clearance and self clearance a stopped arm may be and still resume by itself, m."""
_SLACK_M = 0.002
"""Room to begin to move in, for an arm that stands outside."""
_OUTER_LOOKS, _SELF_LOOKS = 24, 8
_OUTER_NAMES = ("the edge of the workspace", "the table")
_SELF_NAMES = ("its base", "its upper arm", "its forearm")

Levers = tuple[tuple[float, ...], ...]


class ClearanceProof:
    """Answers whether a braking motion stays inside the workspace, above the table and clear of the arm itself."""

    def __init__(self, model: CollisionModel) -> None:
        levers = model.levers
        self._outer = _Channel(
            model.outer_margins, levers[:2], _OUTER_NAMES, looks=_OUTER_LOOKS, forgiven=(FORGIVEN_M, FORGIVEN_TABLE_M)
        )
        self._self = _Channel(
            model.self_margins, levers[2:], _SELF_NAMES, looks=_SELF_LOOKS, forgiven=(FORGIVEN_SELF_M,) * 3
        )

    def forgive(self, joint_positions: Sequence[float]) -> None:
        """Start from ``joint_positions``, even if an emergency stop left the arm a little outside.

        As long as it is outside it may move along and back in, but not further out.
        """
        self._outer.forgive(joint_positions)
        self._self.forgive(joint_positions)

    def obstacle(self, brake: BrakeMotion) -> str:
        """What ``brake`` would come too close to; empty if it is proven clear."""
        return self._outer.obstacle(brake) or self._self.obstacle(brake)


class _Channel:
    def __init__(
        self,
        margins: Callable[[Sequence[float]], tuple[float, ...]],
        levers: Levers,
        names: tuple[str, ...],
        *,
        looks: int,
        forgiven: tuple[float, ...],
    ) -> None:
        self._margins = margins
        self._levers = levers
        self._names = names
        self._looks = looks
        self._forgiven = forgiven
        self._floors = (0.0,) * len(names)
        self._anchor: list[float] = []
        self._anchor_margins: tuple[float, ...] = ()

    def obstacle(self, brake: BrakeMotion) -> str:
        """Name of what is in the way of ``brake``, or empty."""
        if self._within_ball(brake):
            return ""
        start = brake.positions_at(0.0)
        self._move_anchor(start)
        named = self._negative(self._anchor_margins)
        if named or self._within_ball(brake):
            return named
        return self._halve(brake, start)

    def forgive(self, joint_positions: Sequence[float]) -> None:
        """Lower the floors to where the arm is, as far as that is forgiven."""
        self._anchor = []
        self._floors = tuple(
            min(0.0, margin - GUARD_M - _SLACK_M) if 0.0 > margin - GUARD_M > -forgiven else 0.0
            for margin, forgiven in zip(self._margins(joint_positions), self._forgiven, strict=True)
        )

    def _move_anchor(self, positions: list[float]) -> None:
        self._anchor = positions
        self._anchor_margins = self._look(positions)
        if any(self._floors):
            # What has been regained is not given up again.
            gained = [min(0.0, margin + floor - _SLACK_M) for margin, floor in self._with_floors()]
            self._floors = tuple(max(old, new) for old, new in zip(self._floors, gained, strict=True))
            self._anchor_margins = self._look(positions)

    def _with_floors(self) -> list[tuple[float, float]]:
        return list(zip(self._anchor_margins, self._floors, strict=True))

    def _look(self, positions: Sequence[float]) -> tuple[float, ...]:
        return tuple(
            margin - GUARD_M - floor for margin, floor in zip(self._margins(positions), self._floors, strict=True)
        )

    def _negative(self, margins: tuple[float, ...]) -> str:
        for name, margin in zip(self._names, margins, strict=True):
            if margin < 0.0:
                return name
        return ""

    def _within_ball(self, brake: BrakeMotion) -> bool:
        if not self._anchor:
            return False
        turns = [
            max(high - centre, centre - low)
            for centre, low, high in zip(self._anchor, brake.low, brake.high, strict=True)
        ]
        return all(
            _weighted(levers, turns) <= margin
            for levers, margin in zip(self._levers, self._anchor_margins, strict=True)
        )

    def _halve(self, brake: BrakeMotion, start: list[float]) -> str:
        """Prove the way from ``start``, whose margins are the anchor's, to the end of ``brake``."""
        end_margins = self._look(brake.end)
        named = self._negative(end_margins)
        if named:
            return named
        excess = [
            # a joint that reverses goes there and back
            (high - low) - abs(last - first)
            for first, last, low, high in zip(start, brake.end, brake.low, brake.high, strict=True)
        ]
        pending = [(0.0, start, self._anchor_margins, brake.duration_s, brake.end, end_margins)]
        looks = self._looks
        while pending:
            from_s, from_positions, from_margins, to_s, to_positions, to_margins = pending.pop()
            turns = [abs(b - a) + 2.0 * e for a, b, e in zip(from_positions, to_positions, excess, strict=True)]
            short = self._unproven(turns, from_margins, to_margins)
            if not short:
                continue
            if looks == 0:
                return short
            looks -= 1
            middle_s = 0.5 * (from_s + to_s)
            middle = brake.positions_at(middle_s)
            margins = self._look(middle)
            named = self._negative(margins)
            if named:
                return named
            pending.append((from_s, from_positions, from_margins, middle_s, middle, margins))
            pending.append((middle_s, middle, margins, to_s, to_positions, to_margins))
        return ""

    def _unproven(self, turns: list[float], from_margins: tuple[float, ...], to_margins: tuple[float, ...]) -> str:
        """The first obstacle that a stretch of ``turns`` between two exact margins is not proven clear of."""
        for levers, before, after, name in zip(self._levers, from_margins, to_margins, self._names, strict=True):
            length = _weighted(levers, turns)
            if length > before + after and length > 2.0 * GUARD_M:
                return name
        return ""


def _weighted(levers: tuple[float, ...], turns: list[float]) -> float:
    a, b, c, d, e, f = levers
    g, h, i, j, k, m = turns
    return a * g + b * h + c * i + d * j + e * k + f * m
