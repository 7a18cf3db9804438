"""Arrays that may live on a device, as far as anything outside a runner needs to know them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from jaxtyping import Shaped

from mola_core.contracts.errors import MolaError


class RuntimeInputError(MolaError):
    """What a model was given is not what it was made for."""

    exit_code = 2


class DeviceTensor(Protocol):
    """An array in a device's memory; only a runner of the same device reads it without the host.

    The device may still be making it: runners of the same device put their own work after that, everybody else waits. Nobody writes to
    it any more as long as somebody holds it.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> str:
        """numpy's name, as in :class:`TensorSpec`."""
        ...

    def wait(self) -> None:
        """Hold the calling thread until the device has made it.

        Raises:
            EngineError: the device failed over it.
        """
        ...

    def to_host(self) -> Shaped[np.ndarray, "..."]:
        """A copy in the host's memory; waits as :meth:`wait` does. Raises as it does."""
        ...


Tensor = np.ndarray[Any, np.dtype[Any]] | DeviceTensor
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class TensorSpec:
    """Name, axes and kind of one input or output; shapes are fixed."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    """numpy's name, or ``bfloat16``."""


def on_host(tensor: Tensor) -> np.ndarray[Any, np.dtype[Any]]:
    """``tensor`` as a numpy array, copied only when it lives on a device."""
    return tensor if isinstance(tensor, np.ndarray) else tensor.to_host()


def finish(tensors: Tensors) -> None:
    """Wait until the device has made all of ``tensors``.

    Raises:
        EngineError: the device failed over one.
    """
    for tensor in tensors.values():
        if not isinstance(tensor, np.ndarray):
            tensor.wait()
