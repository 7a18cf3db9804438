"""What becomes one graph: a module of plain tensors with names."""

from torch import nn

from mola_core.runtime.tensors import TensorSpec


class GraphModule(nn.Module):
    """``inputs`` are in the order of ``forward``'s arguments, ``outputs`` in that of the tuple it returns."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs: tuple[TensorSpec, ...] = ()
        self.outputs: tuple[str, ...] = ()
