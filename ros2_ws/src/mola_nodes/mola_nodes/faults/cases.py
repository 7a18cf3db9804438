"""The faults of the table: what is broken, how it is mended, and how fast the arm must answer."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mola_core.contracts.errors import MolaError
from mola_nodes.faults.pendant import release_brakes
from mola_nodes.running_twin import RunningTwin
from mola_twin.fault_client import FaultClient

PROMPT_MS, STALE_MS = 100.0, 150.0
"""Limits from fault to braking: of a death or a stop, and of inputs that just cease."""


@dataclass(frozen=True, slots=True)
class FaultBench:
    """What a case may reach."""

    twin: RunningTwin
    faults: FaultClient
    servo_pid: int


@dataclass(frozen=True, slots=True)
class FaultCase:
    """One row of the table."""

    name: str
    inject: Callable[[FaultBench], object]
    limit_ms: float
    mend: Callable[[FaultBench], object] = lambda _: None
    """What a person on site does before asking for resume."""


def _kill(name: str) -> Callable[[FaultBench], object]:
    return lambda bench: bench.twin.supervisor.kill(name, signal.SIGKILL)


def _kill_servo(bench: FaultBench) -> None:
    os.kill(bench.servo_pid, signal.SIGKILL)


def _kill_twin_part(module: str) -> Callable[[FaultBench], object]:
    def kill(bench: FaultBench) -> None:
        parts = [pid for pid in _descendants(bench.twin.supervisor.pid("twin")) if module in _command_line(pid)]
        if not parts:
            raise MolaError(f"the twin has no process {module}")
        for pid in parts:
            os.kill(pid, signal.SIGKILL)

    return kill


def _descendants(pid: int) -> list[int]:
    children = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()]
    return children + [grandchild for child in children for grandchild in _descendants(child)]


def _command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


def _release_emergency_stop(bench: FaultBench) -> None:
    bench.faults.emergency_stop(on=False)
    release_brakes(bench.twin.host)


CASES: tuple[FaultCase, ...] = (
    FaultCase("kill -9 camera_third_person", _kill("camera_third_person"), STALE_MS),
    FaultCase("kill -9 camera_wrist", _kill("camera_wrist"), STALE_MS),
    FaultCase("kill -9 policy", _kill("policy"), STALE_MS),
    FaultCase("kill -9 controller", _kill("controller"), PROMPT_MS),
    FaultCase("kill -9 servo process", _kill_servo, PROMPT_MS),
    FaultCase("kill -9 lifecycle_manager", _kill("lifecycle_manager"), PROMPT_MS),
    FaultCase("kill -9 twin's cell", _kill_twin_part("mola_twin.cell.process"), STALE_MS),
    FaultCase("link drop", lambda bench: bench.faults.drop_link(), PROMPT_MS),
    FaultCase(
        "silent link",
        lambda bench: bench.faults.silent_link(),
        PROMPT_MS,
        mend=lambda bench: bench.faults.silent_link(on=False),
    ),
    FaultCase("protective stop", lambda bench: bench.faults.protective_stop(), PROMPT_MS),
    FaultCase("emergency stop", lambda bench: bench.faults.emergency_stop(), PROMPT_MS, mend=_release_emergency_stop),
    FaultCase(
        "camera drop",
        lambda bench: bench.faults.drop_camera("third_person"),
        STALE_MS,
        mend=lambda bench: bench.faults.drop_camera("third_person", on=False),
    ),
    FaultCase("operator's stop", lambda bench: bench.twin.operator.stop(reason="table of faults"), PROMPT_MS),
)
"""The twin's controller process is not killed: with it the arm itself is gone, and nothing could be measured."""
