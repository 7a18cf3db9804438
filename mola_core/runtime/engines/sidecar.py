"""What an engine file does not say of itself: names, shapes and types of its inputs and outputs, as JSON beside it."""

import json
from dataclasses import asdict
from pathlib import Path

from mola_core.runtime.engines.protocol import EngineError
from mola_core.runtime.tensors import TensorSpec

Specs = tuple[TensorSpec, ...]


def sidecar_path(engine: Path) -> Path:
    """Of the engine at ``engine``."""
    return engine.with_name(f"{engine.name}.json")


def write_sidecar(engine: Path, *, inputs: Specs, outputs: Specs) -> None:
    """Describe the engine at ``engine``."""
    content = {"inputs": [asdict(spec) for spec in inputs], "outputs": [asdict(spec) for spec in outputs]}
    sidecar_path(engine).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_sidecar(engine: Path) -> tuple[Specs, Specs]:
    """Inputs and outputs, in the order of the engine's arguments.

    Raises:
        EngineError: there is none, or it is damaged.
    """
    path = sidecar_path(engine)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        inputs, outputs = (
            tuple(TensorSpec(item["name"], tuple(item["shape"]), item["dtype"]) for item in content[side])
            for side in ("inputs", "outputs")
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EngineError(f"{path} does not describe an engine ({error})") from error
    return inputs, outputs
