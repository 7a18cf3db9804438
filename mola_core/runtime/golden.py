"""Inputs whose right outputs are known: what an engine must give before it serves.

One safetensors file a stage, tensors named ``inputs/…`` and ``outputs/…``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from mola_core.contracts.bundle import BundleError, ParityRecord, Precision
from mola_core.runtime.engines.protocol import Engine
from mola_core.runtime.tensors import on_host

Arrays = Mapping[str, np.ndarray[Any, np.dtype[Any]]]


@dataclass(frozen=True)
class Tolerance:
    """How far from the reference an engine may be, worst output of a stage."""

    cosine: float
    max_abs: float
    """Largest difference over the largest absolute value of the reference."""


TOLERANCES: dict[Precision, Tolerance] = {
    "fp32": Tolerance(cosine=0.99999, max_abs=2e-3),
    "fp16": Tolerance(cosine=0.999, max_abs=0.1),
    "bf16": Tolerance(cosine=0.999, max_abs=0.2),
}


@dataclass(frozen=True)
class Golden:
    """One stage's inputs and what torch makes of them in full precision."""

    inputs: Arrays
    outputs: Arrays


def write_golden(path: Path, golden: Golden) -> None:
    """Create the file; the folder exists."""
    tensors = {f"inputs/{name}": np.ascontiguousarray(array) for name, array in golden.inputs.items()}
    tensors |= {f"outputs/{name}": np.ascontiguousarray(array) for name, array in golden.outputs.items()}
    save_file(tensors, path)


def read_golden(path: Path) -> Golden:
    """What :func:`write_golden` wrote.

    Raises:
        BundleError: the file is absent or damaged.
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise BundleError(f"golden tensors {path} cannot be read ({error})") from error
    parts: dict[str, dict[str, Any]] = {"inputs": {}, "outputs": {}}
    for key, array in tensors.items():
        side, _, name = key.partition("/")
        parts[side][name] = array
    return Golden(inputs=parts["inputs"], outputs=parts["outputs"])


def given_to(engine: Engine, inputs: Arrays) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
    """``inputs`` in the dtypes that ``engine`` declares."""
    dtypes = {spec.name: spec.dtype for spec in engine.inputs}
    return {name: array.astype(dtypes.get(name, array.dtype)) for name, array in inputs.items()}


def parity_of(engine: Engine, golden: Golden) -> ParityRecord:
    """How the engine's outputs compare with the golden ones; inputs are cast to what it declares."""
    outputs = {name: on_host(tensor) for name, tensor in engine.run(given_to(engine, golden.inputs)).items()}
    cosine, max_abs, codes_equal = 1.0, 0.0, True
    for name, expected in golden.outputs.items():
        actual = outputs[name]
        if expected.dtype.kind == "i":
            codes_equal = codes_equal and bool(np.array_equal(actual, expected))
            continue
        first, second = actual.astype(np.float64).ravel(), expected.astype(np.float64).ravel()
        if not (np.isfinite(first).all() and np.isfinite(second).all()):
            return ParityRecord(cosine=-1.0, max_abs=1e9, codes_equal=False)
        cosine = min(cosine, _cosine(first, second))
        distance = np.abs(first - second).max()
        if expected.dtype == np.uint8:  # a level of a picture is rounding
            distance = max(distance - 1.0, 0.0)
        max_abs = max(max_abs, float(distance / max(np.abs(second).max(), 1e-9)))
    return ParityRecord(cosine=cosine, max_abs=max_abs, codes_equal=codes_equal)


def require_parity(record: ParityRecord, *, precision: Precision, what: str) -> None:
    """Refuse what is further from the reference than its precision explains.

    Raises:
        BundleError: with the figures and the limits.
    """
    tolerance = TOLERANCES[precision]
    if record.cosine >= tolerance.cosine and record.max_abs <= tolerance.max_abs:
        return
    raise BundleError(
        f"{what} fails its self-test: cosine {record.cosine:.6f} (at least {tolerance.cosine}), largest difference "
        f"{record.max_abs:.4f} of the largest value (at most {tolerance.max_abs}) in {precision}"
    )


def _cosine(first: np.ndarray[Any, np.dtype[Any]], second: np.ndarray[Any, np.dtype[Any]]) -> float:
    norms = float(np.linalg.norm(first) * np.linalg.norm(second))
    return 1.0 if norms == 0.0 and np.array_equal(first, second) else float(first @ second) / max(norms, 1e-30)
