"""How long a policy takes, stage by stage and as a whole, beside what the arithmetic alone would take on the same machine."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from mola_core.cli.report import summary
from mola_core.contracts.clock import NS_PER_MS
from mola_core.contracts.io_spec import IoSpec
from mola_core.export.stages import StageModule
from mola_core.export.torch_engine import empty_inputs
from mola_core.export.torch_policy import TorchPolicy
from mola_core.runtime.policy import Policy, PolicyObservation
from mola_core.runtime.stages import Stage

WHOLE = "whole"


@dataclass(frozen=True)
class LatencyRow:
    """One way to run the policy."""

    way: str
    stages: Mapping[str, Mapping[str, float]]
    """Stage, or ``whole`` (views and state in, targets out), → count, mean, p50, p90, p99, max in ms."""

    @property
    def whole_p50_ms(self) -> float:
        return self.stages[WHOLE]["p50"]


@dataclass(frozen=True)
class Limits:
    """What the arithmetic alone would take."""

    tflop_per_s: float
    """A large matrix product of the same precision, on the same machine in the same run."""
    tflop: Mapping[Stage, float]

    @property
    def limit_ms(self) -> dict[str, float]:
        """By stage, and for the whole."""
        by_stage: dict[str, float] = {stage: 1e3 * work / self.tflop_per_s for stage, work in self.tflop.items()}
        return by_stage | {WHOLE: sum(by_stage.values())}


def measure(policy: Policy, *, way: str, runs: int, warm_up: int = 5) -> LatencyRow:
    """``runs`` decisions in a row; stages as the policy itself times them."""
    observation = example_observation(policy.io_spec)
    for _ in range(warm_up):
        policy.act(observation)
    times: dict[str, list[float]] = {}
    for _ in range(runs):
        begin = time.perf_counter_ns()
        answer = policy.act(observation)
        times.setdefault(WHOLE, []).append((time.perf_counter_ns() - begin) / NS_PER_MS)
        for stage, spent_ms in answer.timings_ms.items():
            times.setdefault(stage, []).append(spent_ms)
    return LatencyRow(way=way, stages={stage: summary(values) for stage, values in times.items()})


def measure_torch(policy: TorchPolicy, *, way: str, runs: int) -> LatencyRow:
    """As :func:`measure`; where a GPU works on while the next stage is begun, stages are timed in runs of their own, one at a time."""
    free = measure(policy, way=way, runs=runs)
    if all(engine.device == "cpu" for engine in policy.engines.values()):
        return free
    with policy.waiting():
        apart = measure(policy, way=way, runs=runs)
    return LatencyRow(way=way, stages={**apart.stages, WHOLE: free.stages[WHOLE]})


def example_observation(io: IoSpec) -> PolicyObservation:
    """Something to look at."""
    rng = np.random.default_rng(0)
    return PolicyObservation(
        stamp_ns=0,
        views={view.camera: rng.integers(0, 256, (view.height, view.width, 3), dtype=np.uint8) for view in io.views},
        state=np.concatenate([np.zeros(6), [-0.4, 0.0, 0.3, 2.2, 2.2, 0.0], [1.0]]),
        instruction="put the bottle in the bin",
    )


def limits_of(cut: Mapping[Stage, StageModule], *, device: str, dtype: torch.dtype) -> Limits:
    """Work counted in the very modules that are measured; the preview is left out, it is not on the control path."""
    work: dict[Stage, float] = {
        stage: tflop_of(module, device=device) for stage, module in cut.items() if stage != "preview"
    }
    return Limits(tflop_per_s=matmul_rate(device=device, dtype=dtype), tflop=work)


@torch.inference_mode()
def tflop_of(module: StageModule, *, device: str) -> float:
    """Of one pass: multiplications and additions of matrix products and convolutions."""
    with FlopCounterMode(display=False) as counter:
        module(*empty_inputs(module.inputs, device=device))
    return float(counter.get_total_flops()) / 1e12


@torch.inference_mode()
def matmul_rate(*, device: str, dtype: torch.dtype) -> float:
    """TFLOP/s of the best of several large matrix products."""
    side = 8192 if device != "cpu" else 1024
    first = torch.randn(side, side, device=device, dtype=dtype)
    best_s = min(_seconds(lambda: first @ first, device=device) for _ in range(10))
    return 2 * side**3 / best_s / 1e12


def _seconds(work: Callable[[], object], *, device: str) -> float:
    _wait(device)
    begin = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - begin


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()
