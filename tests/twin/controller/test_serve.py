"""``mola twin serve``: up together, down together, one line for every mistake."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mola_core.contracts.errors import ConfigError
from mola_twin.controller.process import check_host
from mola_twin.fault_client import FaultClient

HOST = "127.0.1.81"
MAIN = """
import argparse, sys
from mola_core.contracts.errors import MolaError
from mola_twin.command import register
parser = argparse.ArgumentParser()
register(parser.add_subparsers())
arguments = parser.parse_args()
try:
    sys.exit(arguments.run(arguments))
except MolaError as error:
    sys.exit(f"mola: error: {error}")
"""


@contextmanager
def serving(run_dir: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", MAIN, "twin", "serve", "--host", HOST, "--no-cell", "--run-dir", str(run_dir)]
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def gone(pid: int) -> bool:
    """Ended, if perhaps not yet reaped by whoever inherits it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 20.0
    while not gone(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ready(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_it_prints_one_line_with_its_addresses_and_ends_cleanly_on_interrupt(tmp_path: Path) -> None:
    with serving(tmp_path / "run") as process:
        line = ready(process)
        assert line.startswith(f"twin ready on {HOST}: RTDE 30004")
        (child,) = children(process.pid)
        assert FaultClient(HOST).status().robot_mode == "RUNNING"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (0, "", "")
        wait_until_gone(child)
    assert not (tmp_path / "run").exists()


def test_no_process_outlives_a_killed_parent(tmp_path: Path) -> None:
    with serving(tmp_path) as process:
        ready(process)
        (child,) = children(process.pid)
        process.kill()
        wait_until_gone(child)


def test_a_dead_controller_ends_the_twin_and_is_named(tmp_path: Path) -> None:
    with serving(tmp_path) as process:
        ready(process)
        os.kill(children(process.pid)[0], signal.SIGKILL)
        _, err = process.communicate(timeout=20)
        assert process.returncode != 0
        assert "controller process was killed by signal 9" in err


def test_a_taken_address_is_one_clear_line(tmp_path: Path) -> None:
    with serving(tmp_path / "a") as first:
        ready(first)
        with serving(tmp_path / "b") as second:
            _, err = second.communicate(timeout=20)
            assert second.returncode == 3
            assert err.count("\n") == 1
            assert f"{HOST}:30004 (rtde) is taken" in err


def test_an_address_that_is_not_ours_is_one_clear_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mola_twin.controller.process", "--allow-remote", "--run-dir", str(tmp_path)]
    result = subprocess.run([*command, "--host", "192.0.2.1"], capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 3
    assert "192.0.2.1 is not an address of this machine" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(("host", "match"), [("0.0.0.0", "--allow-remote"), ("robot", "not an IP address")])
def test_only_loopback_unless_remote_is_allowed(host: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        check_host(host, allow_remote=False)


def test_loopback_and_allowed_hosts_pass() -> None:
    assert check_host("localhost", allow_remote=False) == "127.0.0.1"
    assert check_host("192.0.2.1", allow_remote=True) == "192.0.2.1"
