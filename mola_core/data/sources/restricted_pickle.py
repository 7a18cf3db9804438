"""CALVIN keeps its annotations as a pickle inside a ``.npy``. This reads one without running what a stranger put into it.

Only plain containers and numpy arrays are rebuilt; anything else that the file names is refused.
"""

import pickle
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from mola_core.data.errors import BadFileError

_HARMLESS = {
    (module, name)
    for module in (
        "numpy",
        "numpy.core.multiarray",
        "numpy._core.multiarray",
        "numpy.core.numeric",
        "numpy._core.numeric",
    )
    for name in ("ndarray", "dtype", "_reconstruct", "scalar", "_frombuffer")
} | {("_codecs", "encode")}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _HARMLESS:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which annotations have no use for")
        return super().find_class(module, name)


def load_object_npy(path: Path) -> Any:
    """The single object in a ``.npy`` of dtype object.

    Raises:
        BadFileError: missing, damaged, not such a file, or one that names anything but containers and arrays.
    """
    try:
        with path.open("rb") as file:
            _require_object(file)
            array = _Unpickler(file).load()
    except (OSError, ValueError, EOFError, pickle.UnpicklingError, AttributeError, ImportError, IndexError) as error:
        raise BadFileError(path, f"no readable annotations ({error})") from error
    return array.item() if isinstance(array, np.ndarray) else array


def _require_object(file: IO[bytes]) -> None:
    version = npy.read_magic(file)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    _, _, dtype = read_header(file)
    if not dtype.hasobject:
        raise ValueError(f"an array of {dtype}, not of objects")
