"""Label arrays as few bytes: differences from row to row, byte planes apart, deflate. Lossless."""

import zlib

import numpy as np
from jaxtyping import Shaped, UInt8

from mola_core.data.errors import DataError

DTYPES = ("int8", "uint8", "uint16", "int16", "float32")
_LEVEL = 4


def pack(array: Shaped[np.ndarray, "rows *shape"]) -> UInt8[np.ndarray, "bytes"]:
    """``array`` (of one of DTYPES) as bytes; what stands still from row to row costs next to nothing."""
    words = np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")
    first = np.zeros((1, *words.shape[1:]), words.dtype)
    changes = np.diff(words, axis=0, prepend=first)  # wraps around, and so does the sum that undoes it
    planes = np.ascontiguousarray(changes).view(np.uint8).reshape(-1, array.dtype.itemsize).T
    return np.frombuffer(zlib.compress(planes.tobytes(), _LEVEL), np.uint8)


def unpack(
    packed: UInt8[np.ndarray, "bytes"], *, dtype: str, shape: tuple[int, ...]
) -> Shaped[np.ndarray, "rows *shape"]:
    """Inverse of :func:`pack`.

    Raises:
        DataError: damaged bytes, or not as many as ``shape`` needs.
    """
    kind = np.dtype(dtype)
    try:
        raw = zlib.decompress(packed.tobytes())
    except zlib.error as error:
        raise DataError(f"packed labels are damaged: {error}") from error
    if dtype not in DTYPES or len(raw) != int(np.prod(shape)) * kind.itemsize:
        raise DataError(f"packed labels hold {len(raw)} bytes, {dtype} of {shape} was expected")
    planes = np.frombuffer(raw, np.uint8).reshape(kind.itemsize, -1)
    changes = np.ascontiguousarray(planes.T).view(f"u{kind.itemsize}").reshape(shape)
    words = np.cumsum(changes, axis=0, dtype=changes.dtype)
    return words.view(kind)
