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

    **What** :meth:`run` **returns is the caller's**: no later call writes to it, and on a device its memory is used again only when
    nobody holds it any more; it outlives the engine. **What it is given** stays the caller's too: host arrays may be changed as soon
    as it returns, tensors of a device are never written to.
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
        """One pass. On a device it may return while the device is still at it: then its results say when they are made
        (:meth:`~mola_core.runtime.tensors.DeviceTensor.wait`), and another engine of the same device may be given them at once.
        Inputs on the engine's device do not pass through the host.

        Raises:
            RuntimeInputError: a missing or unknown name, or another shape or dtype than declared.
            EngineError: the runtime failed, or the engine is closed. A device that fails later says so where results are waited for.
        """
        ...

    def close(self) -> None:
        """Free the device's memory, except for results that somebody holds; safe to call twice."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
