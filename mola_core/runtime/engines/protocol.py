"""One network compiled for one device, whatever compiled it."""

from types import TracebackType
from typing import Protocol, Self

from mola_core.contracts.errors import MolaError
from mola_core.runtime.tensors import Tensors, TensorSpec


class EngineError(MolaError):
    """An engine cannot be loaded or failed while running; the message says which and why."""

    exit_code = 3


class Engine(Protocol):
    """A loaded network with named inputs and outputs of fixed shape. Not thread-safe: one caller at a time.

    What :meth:`run` returns is valid until the next call of the same engine: buffers are reused.
    """

    name: str
    runtime: str
    """``onnxruntime``, ``tensorrt``, ``tensorrt_rtx`` or ``aot_inductor``."""
    device: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def warm(self) -> None:
        """Run on zeros until the runtime has allocated, tuned and captured all it will."""
        ...

    def run(self, inputs: Tensors) -> Tensors:
        """One pass; inputs on the engine's device are read where they lie.

        Raises:
            RuntimeInputError: a missing or unknown name, or another shape or dtype than declared.
            EngineError: the runtime failed.
        """
        ...

    def close(self) -> None:
        """Free the device's memory; safe to call twice."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
