"""The commanded state and how fast it moves, from two successive reports of it."""

import numpy as np

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S
from mola_core.contracts.geometry import rotvec_from_rotation, transform_from_pose
from mola_core.contracts.types import CommandedState
from mola_core.control.teleop.path import JointPoint, TcpPoint, Velocity

_LONGEST_GAP_NS = 100 * NS_PER_MS
_SHORTEST_GAP_NS = 4 * NS_PER_MS


class CommandedMotion:
    """Follows the reports; says where the command was, and its velocity then."""

    def __init__(self) -> None:
        self._newest: CommandedState | None = None
        self._before: CommandedState | None = None

    @property
    def newest(self) -> CommandedState | None:
        """The last report; None before the first."""
        return self._newest

    def note(self, state: CommandedState) -> None:
        """Take a report; one that is not newer is ignored."""
        if self._newest is None or state.stamp_ns - self._newest.stamp_ns >= _SHORTEST_GAP_NS:
            self._before, self._newest = self._newest, state

    def tcp(self) -> TcpPoint:
        """At the stamp of the newest report."""
        newest = self._require()
        base_from_tcp = transform_from_pose(newest.base_from_tcp)
        gap_s = self._gap_s()
        if gap_s is None or self._before is None:
            return TcpPoint(base_from_tcp, np.zeros(6))
        before = transform_from_pose(self._before.base_from_tcp)
        turn = rotvec_from_rotation(base_from_tcp[:3, :3] @ before[:3, :3].T)
        step = np.concatenate([base_from_tcp[:3, 3] - before[:3, 3], turn])
        return TcpPoint(base_from_tcp, step / gap_s)

    def joints(self) -> JointPoint:
        """At the stamp of the newest report."""
        newest = self._require()
        gap_s = self._gap_s()
        velocity: Velocity = np.zeros(6)
        if gap_s is not None and self._before is not None:
            velocity = (newest.joint_positions - self._before.joint_positions) / gap_s
        return JointPoint(newest.joint_positions, velocity)

    def _require(self) -> CommandedState:
        assert self._newest is not None  # noqa: S101 - our own bug otherwise: nobody engages without a report
        return self._newest

    def _gap_s(self) -> float | None:
        """Between the last two reports; None where it tells nothing of a velocity."""
        if self._newest is None or self._before is None:
            return None
        gap_ns = self._newest.stamp_ns - self._before.stamp_ns
        return gap_ns / NS_PER_S if gap_ns <= _LONGEST_GAP_NS else None
