"""Stops, faults and recoveries, seen by an unmodified ur_rtde client and by the controller's own record."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mola_core.contracts.errors import ConfigError, DeviceError
from mola_core.contracts.types import SafetyMode
from mola_twin.controller.motions import BRAKE_DECELERATION
from mola_twin.fault_client import FaultClient, TwinTrace

Play = Callable[[str], Any]
Client = Callable[[str], Any]
PATIENCE_S = 20.0


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def at_rest(faults: FaultClient) -> bool:
    return max(map(abs, faults.status().joint_velocities)) < 1e-3


def speeds(trace: TwinTrace) -> np.ndarray:
    return np.abs(trace.joint_velocities).max(axis=1)


def test_killing_the_client_lets_the_watchdog_stop_program_and_arm(client: Client, faults: FaultClient) -> None:
    running = client("watchdog")
    assert running.line() == "moving"
    os.kill(running.process.pid, signal.SIGKILL)
    wait_until(lambda: faults.status().runtime_state == "STOPPED" and at_rest(faults))
    time.sleep(0.3)
    trace = faults.trace(5.0)
    stopped = int(np.flatnonzero(trace.program_running)[-1]) + 1
    assert speeds(trace)[stopped - 1] > 0.05, "the arm was moving when the program stopped"
    assert speeds(trace)[-100:].max() < 1e-6, "and nothing moves afterwards"


def test_the_watchdog_kills_a_blocking_move(play: Play) -> None:
    assert play("watchdog_kills_a_blocking_move") == {"done": False, "running": False}


def test_protective_stop_and_recovery_through_the_dashboard(play: Play, faults: FaultClient) -> None:
    seen = play("protective_stop")
    assert seen["protective"]
    assert not seen["emergency"]
    assert "5s" in seen["early"]
    assert seen["cleared"]
    assert seen["drift"] < 1e-3
    assert seen["uploaded"]
    assert seen["moved"]
    trace = faults.trace(20.0)
    onset = int(np.argmax(trace.safety_modes == SafetyMode.PROTECTIVE_STOP))
    speed = speeds(trace)
    rest = onset + int(np.argmax(speed[onset:] < 0.01))
    physical_s = speed[onset] / min(BRAKE_DECELERATION)
    assert 0.5 * physical_s < trace.time_s[rest] - trace.time_s[onset] < physical_s + 0.05
    assert not trace.program_running[onset]


def test_a_paused_program_continues_its_motion_when_played(play: Play) -> None:
    seen = play("resume_continues")
    assert seen["paused_short_of_goal"] > 0.05
    assert seen["state"].startswith("PAUSED")
    assert seen["arrived"]


def test_emergency_stop_and_recovery(client: Client, faults: FaultClient) -> None:
    running = client("emergency_stop")
    assert running.line() == "moving"
    faults.emergency_stop()
    running.go_on()
    assert running.line() == "stopped"
    assert faults.status().robot_mode == "POWER_OFF"
    assert faults.status().program is None
    faults.emergency_stop(on=False)
    running.go_on()
    seen = running.result()
    assert seen.pop("state").startswith("PLAYING")
    assert all(seen.values()), seen


def test_a_fresh_client_connects_after_a_link_drop(client: Client, play: Play, faults: FaultClient) -> None:
    running = client("hold_connections")
    assert running.line() == "connected"
    assert faults.status().clients["rtde"] == 2
    faults.drop_link()
    assert faults.status().clients["rtde"] == 0
    running.process.kill()
    assert play("move_j")["done"]


def test_a_dropped_link_refuses_for_as_long_as_asked(play: Play, faults: FaultClient) -> None:
    faults.drop_link(refuse_s=1.5)
    refused = play("dashboard_talk_or_error")
    assert "error" in refused
    wait_until(lambda: "error" not in play("dashboard_talk_or_error"))


def test_a_silent_link_freezes_the_stream_and_comes_back(client: Client, faults: FaultClient) -> None:
    running = client("silent_link")
    assert running.line() == "connected"
    faults.silent_link()
    running.go_on()
    assert running.line() == "frozen"
    faults.silent_link(on=False)
    running.go_on()
    seen = running.result()
    assert seen["silence"] < 0.1
    assert seen["woke"]


def test_local_mode_keeps_control_clients_out(play: Play, faults: FaultClient) -> None:
    faults.local_mode()
    assert "remote control" in play("local_mode")["error"]


def test_an_unknown_fault_is_answered_with_those_that_exist(faults: FaultClient) -> None:
    with pytest.raises(ConfigError, match=r"unknown fault 'rain'; known: .*protective_stop"):
        faults._fault("rain")
    with pytest.raises(ConfigError, match="camera must be one of third_person, wrist, got 'left'"):
        faults.drop_camera("left")
    with pytest.raises(ConfigError, match="delay_ms must be a number"):
        faults.slow_link(delay_ms=-1.0)


def test_without_a_twin_the_fault_client_says_how_to_start_one() -> None:
    with pytest.raises(DeviceError, match=r"mola twin serve --host 127\.0\.1\.89"):
        FaultClient("127.0.1.89").status()


def test_the_trace_holds_every_tick_once(faults: FaultClient) -> None:
    wait_until(lambda: faults.status().raw["time_s"] > 0.5)
    trace = faults.trace(0.4)
    assert len(trace.time_s) == 200
    assert np.allclose(np.diff(trace.time_s), 0.002)
    assert (np.diff(trace.stamps_ns) > 0).all()
