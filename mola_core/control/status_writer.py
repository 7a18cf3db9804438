"""Fills the status record of the servo process, at a rate that costs the 500 Hz loop next to nothing."""

import os

import numpy as np

from mola_core.contracts.clock import NS_PER_S, Clock
from mola_core.contracts.teleop import HAND_SOURCE
from mola_core.control.histogram import DurationHistogram
from mola_core.control.link_records import STATUS_DTYPE
from mola_core.control.servo_core import ServoCore
from mola_core.control.servo_link import ServoEnd
from mola_core.control.servo_types import Reading, ServoCommand, ServoState

PUBLISH_TICKS = 4
"""Every fourth tick, and at once when the state changes."""
WINDOW_NS = NS_PER_S


class StatusWriter:
    """Counts ticks and their lateness, and publishes."""

    def __init__(self, core: ServoCore, *, link: ServoEnd, clock: Clock) -> None:
        self._core = core
        self._link = link
        self._clock = clock
        self._record = np.zeros((), dtype=STATUS_DTYPE)
        self._record["pid"] = os.getpid()
        self._lateness = DurationHistogram()
        self._lateness_max_ns = 0
        self._ticks = 0
        self._overruns = 0
        self._window_start_ns = clock.monotonic_ns()
        self._window_start_tick = 0
        self._published: tuple[ServoState, str] | None = None
        self._command: ServoCommand | None = None
        self._reading: Reading | None = None
        self._stamp_ns = 0

    def count_tick(self, lateness_ns: int) -> None:
        """Count one tick that began ``lateness_ns`` after its deadline."""
        self._ticks += 1
        self._lateness.add(lateness_ns)
        self._lateness_max_ns = max(self._lateness_max_ns, lateness_ns)
        self._overruns += lateness_ns > self._core.period_ns

    def report(self, command: ServoCommand, reading: Reading, *, stamp_ns: int) -> None:
        """Take note of a tick; publish if it is time or something has changed."""
        self._command, self._reading, self._stamp_ns = command, reading, stamp_ns
        what = (command.state, command.reason)
        if self._ticks % PUBLISH_TICKS and what == self._published:
            return
        self._published = what
        self.publish()

    def publish(self) -> None:
        """Publish the last tick reported."""
        command, reading = self._command, self._reading
        if command is None or reading is None:
            return
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._window_start_ns >= WINDOW_NS:
            self._close_window(now_ns)
        record = self._record
        record["stamp_ns"] = self._stamp_ns
        record["beat_ns"] = now_ns
        record["ticks"] = self._ticks
        self._fill_state(record, command)
        self._fill_motion(record, reading)
        self._fill_counters(record)
        self._link.publish(record)

    def _fill_state(self, record: np.ndarray, command: ServoCommand) -> None:
        chunk = self._core.executed_chunk
        record["state"] = command.state
        record["reason"] = command.reason.encode()[:160]
        by_hand = command.state in (ServoState.GUIDED, ServoState.SETTLING)
        record["source"] = HAND_SOURCE.encode() if by_hand else b"" if chunk is None else chunk.source.encode()[:64]
        record["bundle_id"] = b"" if chunk is None else chunk.bundle_id.encode()[:64]
        record["sequence"] = -1 if chunk is None else chunk.sequence
        record["rung"] = self._core.rung
        record["alive_stamp_ns"] = self._core.alive_stamp_ns
        record["gripper_target"] = np.nan if command.gripper_target is None else command.gripper_target

    def _fill_motion(self, record: np.ndarray, reading: Reading) -> None:
        motion = self._core.motion
        record["commanded_positions"] = motion.positions
        record["commanded_velocities"] = motion.velocities
        record["measured_stamp_ns"] = reading.stamp_ns
        record["measured_positions"] = reading.joint_positions
        record["measured_velocities"] = reading.joint_velocities
        record["base_from_tcp"] = reading.base_from_tcp
        record["robot_mode"] = reading.robot_mode
        record["safety_mode"] = reading.safety_mode
        record["speed_scaling"] = reading.speed_scaling
        record["program_running"] = reading.program_running

    def _fill_counters(self, record: np.ndarray) -> None:
        counters = self._core.counters
        record["outcomes"] = counters.outcomes
        record["ladder_ticks"] = counters.ladder_ticks
        record["late_rows"] = counters.late_rows
        record["missed_chunks"] = self._link.missed_chunks
        record["splices"] = counters.splices
        record["filtered_ticks"] = counters.filtered_ticks
        record["chasing_ticks"] = counters.chasing_ticks
        record["stops"] = counters.stops
        record["overruns"] = self._overruns
        record["lateness_max_ns"] = self._lateness_max_ns
        record["latency_last_ns"] = self._core.latency.last_ns

    def _close_window(self, now_ns: int) -> None:
        record, lateness = self._record, self._lateness.summary()
        record["window_ticks"] = self._ticks - self._window_start_tick
        record["window_ns"] = now_ns - self._window_start_ns
        record["lateness_p50_ns"] = lateness.p50_ns
        record["lateness_p99_ns"] = lateness.p99_ns
        record["lateness_window_max_ns"] = lateness.max_ns
        self._lateness.clear()
        latency = self._core.latency.summary()
        record["latency_count"] = latency.count
        record["latency_p50_ns"] = latency.p50_ns
        record["latency_p99_ns"] = latency.p99_ns
        record["latency_max_ns"] = latency.max_ns
        self._core.latency.clear()
        self._window_start_ns, self._window_start_tick = now_ns, self._ticks
