"""What the arithmetic of a decision alone would take: work counted in the modules, at the best rate of this machine."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from mola_core.export.kernel_rates import KernelRate, best_of, kernel_rates
from mola_core.export.latency import WHOLE
from mola_core.export.stages import StageModule
from mola_core.export.torch_call import empty_inputs
from mola_core.runtime.stages import Stage


@dataclass(frozen=True)
class Limits:
    """No way to run the policy on this machine takes less, unless it multiplies faster than every kernel that was tried."""

    rate: KernelRate
    """The fastest of them, in the same run."""
    tflop: Mapping[Stage, float]

    @property
    def limit_ms(self) -> dict[str, float]:
        """By stage, and for the whole."""
        by_stage: dict[str, float] = {stage: 1e3 * work / self.rate.tflop_per_s for stage, work in self.tflop.items()}
        return by_stage | {WHOLE: sum(by_stage.values())}


def limits_of(cut: Mapping[Stage, StageModule], *, device: str, dtype: torch.dtype, threads: int = 0) -> Limits:
    """Work counted in the very modules that are measured; the preview is left out, it is not on the control path.

    ``threads`` of ONNX Runtime's kernels on a CPU, as in its rows; 0 leaves the choice to it. torch has those that were set.
    """
    work: dict[Stage, float] = {
        stage: tflop_of(module, device=device) for stage, module in cut.items() if stage != "preview"
    }
    return Limits(rate=best_of(kernel_rates(device=device, dtype=dtype, threads=threads)), tflop=work)


@torch.inference_mode()
def tflop_of(module: StageModule, *, device: str) -> float:
    """Of one pass: multiplications and additions of matrix products and convolutions."""
    with FlopCounterMode(display=False) as counter:
        module(*empty_inputs(module.inputs, device=device))
    return float(counter.get_total_flops()) / 1e12
