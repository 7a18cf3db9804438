"""The two ways of moving the arm: by a twist of the TCP, and after a leader's joints. Each draws a path and cuts chunks."""

import numpy as np
from jaxtyping import Float

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S
from mola_core.contracts.errors import UnreachablePoseError
from mola_core.contracts.geometry import inverse_transform, rotvec_from_rotation
from mola_core.contracts.site import Site
from mola_core.contracts.teleop import LeaderJoints, Twist, TwistFrame
from mola_core.contracts.types import CommandedState, Joints
from mola_core.control.kinematics import flange_from_tcp, inverse_kinematics, jacobian
from mola_core.control.teleop.commanded import CommandedMotion
from mola_core.control.teleop.frames import TwistFrames
from mola_core.control.teleop.path import JointPoint, Path, TcpPoint
from mola_core.control.teleop.stoppable import share_of

PERIOD_NS, HORIZON, EXECUTE_STEPS = 20 * NS_PER_MS, 12, 8
TRANSPORT_NS = 10 * NS_PER_MS
"""From the node to the servo; a chunk that begins so much later than the servo could execute it loses no row."""
ACCELERATION = 2.0
"""rad/s^2, of the fastest joint, when the motion changes; a quarter of what the limits allow leaves room to brake at once."""
_WALL_S = 0.3
"""The TCP slows down towards the workspace's walls as if it were to reach them in this time."""
_WALL_MARGIN_M = 0.003
_STRAYED_M, _STRAYED_RAD = 0.008, 0.04
"""A command that is further than this from the path was held back by the servo: the path goes on from the command."""
_RUSH = 3.0
"""Near a singularity a joint turns ever faster along a path of the TCP; not more than so many times what it may."""
_HASTE_S = 0.1
"""How soon the motion changes in a singularity, where no joint velocities tell."""
_FOLLOW_S = 0.25
"""A follower closes the gap to its leader as if it were to take this long."""


class TwistMotion:
    """Velocity of the TCP to joint positions, by way of the poses that it leads through."""

    def __init__(self, site: Site, *, frames: TwistFrames, commanded: CommandedMotion, allowed: Joints) -> None:
        self._site = site
        self._frames = frames
        self._commanded = commanded
        self._allowed = allowed
        self._delay_ns = round(site.arm.servo.arm_delay_s * NS_PER_S)
        self._flange_from_tcp = inverse_transform(flange_from_tcp(site.arm.tcp_offset))
        self._path: Path[TcpPoint] | None = None
        self.share = 1.0
        """What was let through of the speed asked for, 0..1."""

    def steer(self, twist: Twist, *, chosen: TwistFrame, scale: float, start_ns: int) -> Float[np.ndarray, "horizon 6"]:
        """Bend the path towards ``twist`` from ``start_ns`` on; joint positions from there, rad.

        What leads out of the arm's reach is tried more slowly, and in the end not at all.
        """
        path = self._path_through_command()
        point = path.at(start_ns)
        wanted = scale * self._frames.in_base(twist, chosen=chosen, base_from_tcp=point.base_from_tcp)
        wanted[:3] = self._away_from_walls(wanted[:3], point.base_from_tcp[:3, 3])
        per_joint = self._joint_velocities(wanted)
        share = 0.0 if per_joint is None else share_of(per_joint, allowed=self._allowed)
        for self.share in (share, 0.3 * share, 0.0):
            velocity = self.share * wanted
            change = self._joint_velocities(velocity - point.velocity)
            within_s = _HASTE_S if change is None else float(np.abs(change).max()) / ACCELERATION
            path.bend(start_ns, velocity=velocity, within_s=within_s)
            rows = self._joint_rows(path, start_ns=start_ns)
            if rows is not None:
                return rows
        return self._stand()

    def _joint_rows(self, path: Path[TcpPoint], *, start_ns: int) -> Float[np.ndarray, "horizon 6"] | None:
        """None where the path leaves the arm's reach, or a joint would have to rush to follow it."""
        arm, near = self._site.arm, self._newest.joint_positions
        rows = np.empty((HORIZON, 6))
        try:
            for row in range(HORIZON):
                pose = path.at(start_ns + row * PERIOD_NS).base_from_tcp
                near = inverse_kinematics(
                    pose @ self._flange_from_tcp,
                    near=near,
                    position_min=arm.position_min,
                    position_max=arm.position_max,
                )
                rows[row] = near
        except UnreachablePoseError:
            return None
        speeds = np.abs(np.diff(rows, axis=0)) * (NS_PER_S / PERIOD_NS)
        return rows if (speeds <= _RUSH * self._allowed).all() else None

    def _stand(self) -> Float[np.ndarray, "horizon 6"]:
        """Stay where the arm is commanded to be."""
        self._path = None
        return np.tile(self._newest.joint_positions, (HORIZON, 1))

    @property
    def _newest(self) -> CommandedState:
        newest = self._commanded.newest
        assert newest is not None  # noqa: S101 - our own bug otherwise: nobody engages without a report
        return newest

    def _path_through_command(self) -> Path[TcpPoint]:
        meant_ns, command = self._newest.stamp_ns + self._delay_ns, self._commanded.tcp()
        if self._path is None or _distance(self._path.at(meant_ns), command) > 1.0:
            self._path = Path(meant_ns, command)
        return self._path

    def _joint_velocities(self, velocity: Float[np.ndarray, "6"]) -> Joints | None:
        """Of the arm where it is commanded to be; None in a singularity."""
        try:
            return np.asarray(
                np.linalg.solve(jacobian(self._newest.joint_positions, self._site.arm.tcp_offset), velocity)
            )
        except np.linalg.LinAlgError:
            return None

    def _away_from_walls(
        self, velocity: Float[np.ndarray, "3"], position: Float[np.ndarray, "3"]
    ) -> Float[np.ndarray, "3"]:
        box = self._site.workspace
        below = np.maximum(position - np.array(box.tcp_min) - _WALL_MARGIN_M, 0.0) / _WALL_S
        above = np.maximum(np.array(box.tcp_max) - _WALL_MARGIN_M - position, 0.0) / _WALL_S
        return np.asarray(np.clip(velocity, -below, above))


class LeaderMotion:
    """A leader's joints to the follower's."""

    def __init__(self, site: Site, *, commanded: CommandedMotion, allowed: Joints) -> None:
        self._commanded = commanded
        self._allowed = allowed
        self._bounds = np.array([site.arm.position_min, site.arm.position_max])
        self._delay_ns = round(site.arm.servo.arm_delay_s * NS_PER_S)
        self._path: Path[JointPoint] | None = None
        self.share = 1.0
        """What was let through of the speed asked for, 0..1."""

    def follow(self, leader: LeaderJoints, *, scale: float, start_ns: int) -> Float[np.ndarray, "horizon 6"]:
        """Bend the path towards the leader from ``start_ns`` on; joint positions from there, rad."""
        path = self._path_through_command()
        point = path.at(start_ns)
        wanted = (np.clip(leader.joint_positions, *self._bounds) - point.positions) / _FOLLOW_S
        self.share = share_of(wanted, allowed=scale * self._allowed)
        within_s = float(np.abs(self.share * wanted - point.velocity).max()) / ACCELERATION
        path.bend(start_ns, velocity=self.share * wanted, within_s=within_s)
        rows = np.stack([path.at(start_ns + row * PERIOD_NS).positions for row in range(HORIZON)])
        return np.asarray(np.clip(rows, *self._bounds))

    def _path_through_command(self) -> Path[JointPoint]:
        newest = self._commanded.newest
        assert newest is not None  # noqa: S101 - our own bug otherwise: nobody engages without a report
        meant_ns, command = newest.stamp_ns + self._delay_ns, self._commanded.joints()
        if self._path is None or np.abs(self._path.at(meant_ns).positions - command.positions).max() > _STRAYED_RAD:
            self._path = Path(meant_ns, command)
        return self._path


def _distance(first: TcpPoint, second: TcpPoint) -> float:
    """In units of what counts as strayed."""
    moved = float(np.linalg.norm(first.base_from_tcp[:3, 3] - second.base_from_tcp[:3, 3]))
    turn = rotvec_from_rotation(first.base_from_tcp[:3, :3] @ second.base_from_tcp[:3, :3].T)
    return max(moved / _STRAYED_M, float(np.linalg.norm(turn)) / _STRAYED_RAD)
