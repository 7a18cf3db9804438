"""NVIDIA's CUDA runtime through its own bindings (package ``cuda-bindings``), for runners that do without torch.

Handles are plain integers: every call of the bindings takes them, and so does TensorRT.
"""

from typing import Any

from mola_core.runtime.engines.protocol import EngineError

_OLDEST = (12, 9, 1)
"""Since then the bindings let other threads run while one waits for the card. Before, a kernel that hangs would stop the process, and
with it whoever is to notice."""


def cuda_runtime() -> Any:
    """The module of the runtime's functions; each answers ``(status, value…)``.

    Raises:
        EngineError: the bindings are missing or too old.
    """
    try:
        from cuda import bindings  # noqa: PLC0415  # only where there is a GPU
        from cuda.bindings import runtime  # noqa: PLC0415
    except ImportError as error:
        raise EngineError("the CUDA runtime's Python bindings are missing: pip install cuda-bindings") from error
    if tuple(int(part) for part in bindings.__version__.split(".")[:3] if part.isdigit()) < _OLDEST:
        wanted = ".".join(map(str, _OLDEST))
        raise EngineError(
            f"cuda-bindings {bindings.__version__} would stop this process with a card that hangs: "
            f"pip install 'cuda-bindings>={wanted}'"
        )
    return runtime


def call(result: Any) -> Any:
    """The value of a CUDA call, which answers ``(status, value…)``.

    Raises:
        EngineError: the status is not success; the message carries CUDA's name for it.
    """
    status, *values = result
    if int(status) != 0:
        raise EngineError(f"CUDA: {getattr(status, 'name', status)}")
    return values[0] if len(values) == 1 else tuple(values)


def handle_of(made: Any) -> int:
    """The integer that stands for ``made``: what a call that makes a stream, an event or a graph has answered."""
    from cuda.bindings.utils import get_cuda_native_handle  # noqa: PLC0415  # as above

    return int(get_cuda_native_handle(made))
