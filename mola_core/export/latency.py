"""How long a policy takes, stage by stage and as a whole. Without torch: a rig measures its engines too."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mola_core.cli.report import summary
from mola_core.contracts.clock import NS_PER_MS
from mola_core.contracts.io_spec import IoSpec
from mola_core.runtime.policy import Policy, PolicyObservation

if TYPE_CHECKING:
    from mola_core.export.torch_policy import TorchPolicy

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


def measure_torch(policy: "TorchPolicy", *, way: str, runs: int) -> LatencyRow:
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
