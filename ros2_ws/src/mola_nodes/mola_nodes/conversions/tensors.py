"""Dense arrays in messages."""

import math
from typing import Any

import numpy as np
from mola_interfaces.msg import Tensor

from mola_nodes.conversions.wire import MessageError, bytes_to_wire, check_length

_DTYPES: dict[int, "np.dtype[Any]"] = {
    Tensor.FLOAT16: np.dtype("<f2"),
    Tensor.FLOAT32: np.dtype("<f4"),
    Tensor.INT32: np.dtype("<i4"),
    Tensor.UINT8: np.dtype("u1"),
}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}


def message_from_tensor(values: np.ndarray, *, name: str) -> Tensor:
    """``values`` under a ``name`` that says its axes.

    Raises:
        MessageError: of a dtype that does not travel.
    """
    code = _CODES.get(values.dtype)
    if code is None:
        raise MessageError(f"tensor {name!r} is {values.dtype}; {', '.join(str(dtype) for dtype in _CODES)} travel")
    return Tensor(name=name, dtype=code, shape=list(values.shape), data=bytes_to_wire(values))


def tensor_from_message(message: Tensor) -> np.ndarray:
    """The array; a read-only view into the message.

    Raises:
        MessageError: an unknown dtype, or a shape that the data does not fill.
    """
    dtype = _DTYPES.get(message.dtype)
    if dtype is None:
        raise MessageError(f"tensor {message.name!r} has the unknown dtype {message.dtype}")
    num_bytes = math.prod(message.shape) * dtype.itemsize
    check_length(name=f"data of tensor {message.name!r}", values=message.data, length=num_bytes)
    values = np.frombuffer(message.data, dtype=dtype).reshape(tuple(message.shape))
    values.flags.writeable = False
    return values
