"""What every runner refuses before it bothers its runtime."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mola_core.runtime.tensors import RuntimeInputError, Tensor, Tensors, TensorSpec


def checked(inputs: Tensors, specs: Sequence[TensorSpec], *, engine: str) -> Mapping[str, Tensor]:
    """``inputs`` as they are, if they are what ``specs`` declare.

    Raises:
        RuntimeInputError: a missing or unknown name, another shape, or another dtype.
    """
    wanted = {spec.name: spec for spec in specs}
    if inputs.keys() != wanted.keys():
        missing, unknown = sorted(wanted.keys() - inputs.keys()), sorted(inputs.keys() - wanted.keys())
        raise RuntimeInputError(f"engine {engine}: missing {missing or 'none'}, unknown {unknown or 'none'}")
    for name, spec in wanted.items():
        tensor = inputs[name]
        if tuple(tensor.shape) != spec.shape:
            raise RuntimeInputError(f"engine {engine}: {name} has shape {tuple(tensor.shape)}, expected {spec.shape}")
        dtype = tensor.dtype.name if isinstance(tensor, np.ndarray) else tensor.dtype
        if dtype != spec.dtype:
            raise RuntimeInputError(f"engine {engine}: {name} is {dtype}, expected {spec.dtype}")
    return inputs


def zeros(specs: Sequence[TensorSpec]) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
    """An input of zeros for each spec (true for masks: an empty sentence means nothing)."""
    return {
        spec.name: np.ones(spec.shape, dtype=bool) if spec.dtype == "bool" else np.zeros(spec.shape, dtype=spec.dtype)
        for spec in specs
    }
