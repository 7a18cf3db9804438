"""AdamW over the trained parameters, mixed precision, and the length of gradients."""

import functools
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from mola_core.training.recipe import OptimizerSpec, StageSpec

_CPU = Path("/proc/cpuinfo")
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def make_optimizer(parameters: Mapping[str, nn.Parameter], spec: OptimizerSpec) -> torch.optim.AdamW:
    """AdamW that decays matrices only: pulling gains and biases towards zero helps nobody."""
    decayed = [parameter for parameter in parameters.values() if parameter.ndim >= 2]
    plain = [parameter for parameter in parameters.values() if parameter.ndim < 2]
    groups = [
        {"params": decayed, "weight_decay": spec.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    filled = [group for group in groups if group["params"]]
    # fused: one kernel in place of many
    return torch.optim.AdamW(filled, lr=spec.learning_rate, betas=spec.betas, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """The same for all groups."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


def autocast_dtype(spec: StageSpec, device: torch.device) -> torch.dtype | None:
    """What matrices are multiplied in; None for fp32."""
    return inference_dtype(device) if spec.precision == "auto" else _DTYPES.get(spec.precision)


def inference_dtype(device: torch.device) -> torch.dtype | None:
    """bf16 where matrices are multiplied in it fast."""
    return torch.bfloat16 if device.type == "cuda" or cpu_has_bf16_matrices() else None


def working_dtype(device: torch.device) -> torch.dtype:
    """What matrices are multiplied in here and now: under autocast its type, fp32 otherwise."""
    return torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else torch.float32


def make_scaler(spec: StageSpec, device: torch.device) -> torch.amp.GradScaler:
    """Scales losses in fp16, whose small gradients would vanish; does nothing otherwise."""
    return torch.amp.GradScaler(device.type, enabled=autocast_dtype(spec, device) is torch.float16)


@functools.cache
def cpu_has_bf16_matrices() -> bool:
    """Whether this CPU multiplies bf16 itself (AMX tiles or AVX-512 BF16); without that bf16 is slower than fp32."""
    flags = [line for line in _CPU.read_text(encoding="utf-8").splitlines() if line.startswith("flags")]
    return any("amx_bf16" in line or "avx512_bf16" in line for line in flags)
