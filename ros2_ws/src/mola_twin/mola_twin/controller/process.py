"""The controller process: ``python -m mola_twin.controller.process --host 127.0.0.2``.

One thread. Every 2 ms: read, step the robot, write the shared record, answer, sleep until the next absolute deadline. Waiting
in sleep rather than in the poller costs one wake-up a tick however many packages arrive, and a real controller takes its
inputs at its own cycles too.
"""

import argparse
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from types import FrameType

from mola_core.contracts.clock import NS_PER_S, Clock, SystemClock
from mola_core.contracts.errors import ConfigError, MolaError
from mola_core.contracts.types import RobotMode
from mola_twin.cell.layout import HOME_JOINTS
from mola_twin.controller import dashboard, faults, robotiq, rtde_server, script_port
from mola_twin.controller.cell_link import CellLink
from mola_twin.controller.connection import LinkCondition
from mola_twin.controller.gripper import Gripper
from mola_twin.controller.network import Network, Port
from mola_twin.controller.robot import TICK_S, Robot, RobotConfig
from mola_twin.controller.rtde_outputs import View
from mola_twin.controller.trace import Trace
from mola_twin.run_dir import default_run_dir

log = logging.getLogger(__name__)

TICK_NS = round(TICK_S * NS_PER_S)
_CATCH_UP = 10
"""Ticks made up for after a stall of this process; what is beyond is lost time, counted and reported."""
READY_LINE = "ready"


class Controller:
    """Everything that listens, and the robot behind it."""

    def __init__(self, *, host: str, run_dir: Path, clock: Clock, robot: Robot | None = None) -> None:
        self.robot = robot or Robot(RobotConfig(initial_positions=HOME_JOINTS))
        self.gripper = Gripper()
        self.trace = Trace()
        self.missed_ticks = 0
        self._clock = clock
        self._link = LinkCondition()
        self._network = Network(host)
        self._robot_ports = self._make_ports()
        self._reopen_ns: int | None = None
        self._stamp_ns = 0
        """Of the last tick."""
        try:
            for port in (*self._robot_ports, self._fault_port()):
                self._network.open(port)
            self._cell = CellLink(run_dir)
        except BaseException:
            self._network.close()
            raise

    def run(self, *, keep_running: Callable[[], bool], ready: Callable[[], None]) -> None:
        """Serve until ``keep_running`` says no."""
        ready()
        deadline_ns = self._clock.monotonic_ns() + TICK_NS
        while keep_running():
            self._clock.sleep_until(deadline_ns)
            due = (self._clock.monotonic_ns() - deadline_ns) // TICK_NS + 1
            if due > _CATCH_UP:
                self.missed_ticks += due - _CATCH_UP
            deadline_ns += due * TICK_NS
            self.tick(steps=min(due, _CATCH_UP))

    def tick(self, *, steps: int = 1) -> None:
        """Take what arrived, move, answer."""
        now_ns = self._clock.monotonic_ns()
        if self._reopen_ns is not None and now_ns >= self._reopen_ns:
            self._reopen()
        self._network.receive(now_ns / NS_PER_S)
        newest_ns = self._clock.now_ns()
        for behind in range(steps - 1, -1, -1):
            # a tick that came late may have been stamped later than the ticks that are made up for it now
            self._stamp_ns = max(newest_ns - behind * TICK_NS, self._stamp_ns + 1)
            self._step(stamp_ns=self._stamp_ns)
        self._network.send()

    def close(self) -> None:
        """Close all sockets and shared records."""
        self._network.close()
        self._cell.close()

    def _step(self, *, stamp_ns: int) -> None:
        seen = self._cell.read_cell(now_ns=stamp_ns)
        self.robot.contact_force = seen.contact_force if seen is not None else 0.0
        self.robot.step(TICK_S)
        powered = self.robot.robot_mode >= RobotMode.POWER_ON
        if not powered and self.gripper.powered:
            self.gripper.lose_power()
        self.gripper.powered = powered
        self.gripper.step(TICK_S, seen=(seen.gripper_opening, seen.gripper_blocked) if seen is not None else None)
        self._cell.write_arm(robot=self.robot, gripper=self.gripper, now_ns=stamp_ns)
        self.trace.append(self.robot, now_ns=stamp_ns)

    def _make_ports(self) -> list[Port]:
        robot = self.robot
        rtde = partial(rtde_server.RtdeSession, robot=robot, view=View(robot), owners=rtde_server.InputOwners())
        return [
            Port(rtde_server.PORT, "rtde", rtde, self._link),
            Port(script_port.PORT, "script", partial(script_port.ScriptSession, robot=robot), self._link),
            Port(dashboard.PORT, "dashboard", partial(dashboard.DashboardSession, robot=robot), self._link),
            Port(robotiq.PORT, "gripper", partial(robotiq.RobotiqSession, gripper=self.gripper), self._link),
        ]

    def _fault_port(self) -> Port:
        targets = faults.FaultTargets(
            robot=self.robot,
            gripper=self.gripper,
            link=self._link,
            trace=self.trace,
            drop_link=self._drop_link,
            drop_camera=self._drop_camera,
            count_clients=lambda: {port.name: len(port.sessions) for port in self._network.ports},
            missed_ticks=lambda: self.missed_ticks,
        )
        return Port(faults.PORT, "faults", partial(faults.FaultSession, targets=targets), LinkCondition())

    def _drop_link(self, refuse_s: float) -> None:
        for port in self._robot_ports:
            self._network.drop(port)
            if refuse_s > 0.0:
                self._network.close_listener(port)
        if refuse_s > 0.0:
            self._reopen_ns = self._clock.monotonic_ns() + round(refuse_s * NS_PER_S)

    def _reopen(self) -> None:
        self._reopen_ns = None
        for port in self._robot_ports:
            if port.listener is None:
                self._network.open(port)

    def _drop_camera(self, index: int, on: bool) -> None:
        bit = 1 << index
        self._cell.dropped_cameras = self._cell.dropped_cameras | bit if on else self._cell.dropped_cameras & ~bit


def check_host(host: str, *, allow_remote: bool) -> str:
    """The host to bind; raises :class:`ConfigError` unless it is a loopback address or remote clients are allowed."""
    try:
        address = ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError as error:
        raise ConfigError(f"--host {host!r} is not an IP address; give one such as 127.0.0.2") from error
    if not address.is_loopback and not allow_remote:
        raise ConfigError(f"--host {host} can be reached from other machines; add --allow-remote if that is meant")
    return str(address)


def request_realtime(priority: int) -> None:
    """SCHED_FIFO for this process where the system permits it; a warning where not."""
    if priority > 0:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
        except (PermissionError, OSError) as error:
            log.warning("no SCHED_FIFO %d (%s); going on with default scheduling", priority, error)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line of the process; ``mola twin serve`` writes it."""
    parser = argparse.ArgumentParser(prog="python -m mola_twin.controller.process", description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--run-dir", type=Path)
    parser.add_argument("--allow-remote", action="store_true")
    parser.add_argument("--realtime-priority", type=int, default=0)
    parser.add_argument("--verbose", action="store_true")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; prints one line when ready."""
    arguments = parse_arguments(argv)
    level = logging.INFO if arguments.verbose else logging.WARNING
    logging.basicConfig(level=level, format="twin controller: %(message)s")
    stopping = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    try:
        host = check_host(arguments.host, allow_remote=arguments.allow_remote)
        controller = Controller(host=host, run_dir=arguments.run_dir or default_run_dir(host), clock=SystemClock())
    except MolaError as error:
        print(f"twin controller: error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    request_realtime(arguments.realtime_priority)
    gc.collect()
    gc.freeze()
    try:
        controller.run(
            keep_running=lambda: not stopping,
            ready=lambda: print(READY_LINE, flush=True),  # noqa: T201
        )
    finally:
        controller.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
