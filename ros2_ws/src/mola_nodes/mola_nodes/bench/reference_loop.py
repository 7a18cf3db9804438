"""The servo loop that most published policies run, as the reference beside ours.

A re-statement of the common pattern (one process per arm, the newest waypoints interpolated by wall clock, ``servoL``, then the
library's relative ``waitPeriod``), as in diffusion_policy's real-robot controller: rotations by spherical interpolation, no limits on
acceleration or jerk, no staleness, no deadline of its own. It writes the monotonic time of every command it sent.

    python -m mola_nodes.bench.reference_loop --host 127.0.0.2 --seconds 60 --out ticks.npy
"""

import argparse
import os
from pathlib import Path

import numpy as np
from jaxtyping import Float

from mola_core.contracts.clock import NS_PER_S, SystemClock
from mola_core.contracts.geometry import (
    Pose,
    pose_from_transform,
    rotation_from_rotvec,
    rotvec_from_rotation,
    transform_from_pose,
)

FREQUENCY_HZ = 500.0
LOOKAHEAD_S = 0.1
GAIN = 300.0
"""The pattern's usual servo settings."""
_WAYPOINT_PERIOD_S = 0.1
_AMPLITUDE_M = 0.03
_SWING_PERIOD_S = 4.0


class WaypointInterpolator:
    """Linear positions and spherical rotations between stamped waypoints; holds outside them."""

    def __init__(self, *, times_s: Float[np.ndarray, "rows"], poses: Float[np.ndarray, "rows 6"]) -> None:
        self._times_s = times_s
        self._poses = poses

    def __call__(self, time_s: float) -> Pose:
        row = int(np.searchsorted(self._times_s, time_s))
        if row == 0 or row == len(self._times_s):
            return self._poses[min(row, len(self._poses) - 1)]
        before, after = self._poses[row - 1], self._poses[row]
        fraction = (time_s - self._times_s[row - 1]) / (self._times_s[row] - self._times_s[row - 1])
        start = rotation_from_rotvec(before[3:])
        turn = rotvec_from_rotation(start.T @ rotation_from_rotvec(after[3:]))
        rotation = start @ rotation_from_rotvec(fraction * turn)
        transform = transform_from_pose(np.zeros(6))
        transform[:3, :3] = rotation
        transform[:3, 3] = before[:3] + fraction * (after[:3] - before[:3])
        return pose_from_transform(transform)


def waypoints(*, start: Pose, from_s: float) -> WaypointInterpolator:
    """A vertical swing about ``start``, as a policy at 10 Hz would send it."""
    times_s = from_s + _WAYPOINT_PERIOD_S * np.arange(16)
    poses = np.tile(start, (16, 1))
    poses[:, 2] += _AMPLITUDE_M * 0.5 * (1.0 - np.cos(2 * np.pi * times_s / _SWING_PERIOD_S))
    return WaypointInterpolator(times_s=times_s, poses=poses)


def run(*, host: str, seconds: float) -> Float[np.ndarray, "ticks"]:
    """Servo for ``seconds``; monotonic nanoseconds after each command."""
    # only this process may hold ur_rtde, hence the late import
    from rtde_control import RTDEControlInterface  # noqa: PLC0415
    from rtde_receive import RTDEReceiveInterface  # noqa: PLC0415

    clock = SystemClock()
    control = RTDEControlInterface(host, FREQUENCY_HZ)
    receive = RTDEReceiveInterface(host, FREQUENCY_HZ)
    start = np.array(receive.getActualTCPPose())
    ticks = np.zeros(int(seconds * FREQUENCY_HZ), dtype=np.int64)
    begin_ns = clock.monotonic_ns()
    plan, plan_until_s = waypoints(start=start, from_s=0.0), 1.0
    for tick in range(ticks.size):
        period_start = control.initPeriod()
        now_s = (clock.monotonic_ns() - begin_ns) / NS_PER_S
        if now_s > plan_until_s:
            plan, plan_until_s = waypoints(start=start, from_s=now_s - now_s % _WAYPOINT_PERIOD_S), now_s + 1.0
        control.servoL(plan(now_s).tolist(), 0.5, 0.5, 1.0 / FREQUENCY_HZ, LOOKAHEAD_S, GAIN)
        ticks[tick] = clock.monotonic_ns()
        control.waitPeriod(period_start)
    control.servoStop()
    control.stopScript()
    return ticks


def main() -> None:
    """Command line of the reference process."""
    parser = argparse.ArgumentParser(description="reference servo loop")
    parser.add_argument("--host", required=True)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--realtime-priority", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.realtime_priority:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(arguments.realtime_priority))
    np.save(arguments.out, run(host=arguments.host, seconds=arguments.seconds))


if __name__ == "__main__":
    main()
