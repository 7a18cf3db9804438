"""TensorRT: the runner of rigs."""

from typing import Any

from mola_core.runtime.engines.loading import EngineSource
from mola_core.runtime.engines.plan import PlanEngine
from mola_core.runtime.engines.protocol import EngineError


def load(source: EngineSource) -> PlanEngine:
    """The engine of ``source``.

    Raises:
        EngineError: the runtime is not installed, or does not accept the plan on this card.
    """
    if source.device == "cpu":
        raise EngineError(f"engine {source.name}: tensorrt runs on NVIDIA GPUs, asked for cpu")
    return PlanEngine(_api(), source, runtime="tensorrt")


def _api() -> Any:
    try:
        import tensorrt  # noqa: PLC0415  # only where it is installed
    except ImportError as error:
        raise EngineError("tensorrt is not installed: pip install tensorrt") from error
    return tensorrt
