"""A controller process on a loopback address of its own, and the real ur_rtde client in processes of its own."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mola_twin.fault_client import FaultClient

HOST = "127.0.1.80"
SCENARIOS = Path(__file__).with_name("scenarios.py")
WATCHDOG_S = 60.0


@dataclass(frozen=True)
class Twin:
    """A running controller."""

    host: str
    run_dir: Path
    process: subprocess.Popen[str]


@contextmanager
def running_twin(run_dir: Path) -> Iterator[Twin]:
    """A fresh controller, without a cell."""
    command = [sys.executable, "-m", "mola_twin.controller.process", "--host", HOST, "--run-dir", str(run_dir)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield Twin(HOST, run_dir, process)
        assert process.poll() is None, "the controller has crashed"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def twin(tmp_path: Path) -> Iterator[Twin]:
    """A controller for this test alone."""
    with running_twin(tmp_path) as twin:
        yield twin


@pytest.fixture(scope="module")
def shared_twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twin]:
    """One controller for all tests of a module whose clients leave it as they found it, but for the arm's position."""
    with running_twin(tmp_path_factory.mktemp("twin")) as twin:
        yield twin


@pytest.fixture
def faults(twin: Twin) -> Iterator[FaultClient]:
    """The fault channel of that controller."""
    with FaultClient(twin.host) as client:
        yield client


@dataclass(frozen=True)
class RunningClient:
    """A ur_rtde client in its own process that plays one scenario."""

    process: subprocess.Popen[str]

    def line(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def go_on(self) -> None:
        """Let a scenario that waits for us continue."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def result(self) -> Any:
        """What the scenario returned."""
        out, err = self.process.communicate(timeout=WATCHDOG_S)
        assert out.strip(), f"the client died with {self.process.returncode}: {err[-2000:]}"
        return json.loads(out.strip().splitlines()[-1])


@pytest.fixture
def client(twin: Twin) -> Iterator[Callable[[str], RunningClient]]:
    """Starts ``client("name")``, a function of scenarios.py."""
    started: list[subprocess.Popen[str]] = []

    def start(scenario: str) -> RunningClient:
        process = subprocess.Popen(
            [sys.executable, str(SCENARIOS), scenario, twin.host],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return RunningClient(process)

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def play(client: Callable[[str], RunningClient]) -> Callable[[str], Any]:
    """Runs a scenario from start to end."""
    return lambda scenario: client(scenario).result()
