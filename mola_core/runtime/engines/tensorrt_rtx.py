"""TensorRT-RTX: runs what was compiled ahead of time; kernels are finished on the card when an engine is loaded."""

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
        raise EngineError(f"engine {source.name}: tensorrt_rtx runs on NVIDIA GPUs, asked for cpu")
    return PlanEngine(_api(), source, runtime="tensorrt_rtx")


def _api() -> Any:
    try:
        import tensorrt_rtx  # noqa: PLC0415  # only where it is installed
    except ImportError as error:
        raise EngineError("tensorrt_rtx is not installed: pip install tensorrt-rtx") from error
    return tensorrt_rtx
