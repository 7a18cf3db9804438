"""The one place that imports pyrealsense2."""

import ctypes
import ctypes.util
import importlib
from functools import cache
from types import ModuleType

from mola_core.contracts.errors import CameraError


@cache
def load_librealsense() -> ModuleType:
    """pyrealsense2, with libusb loaded first.

    The wheel links against ``libusb-1.0.so.0`` but does not bring it; where the system has none, the wheel
    ``libusb-package`` does.

    Raises:
        CameraError: one of the two is not installed.
    """
    if ctypes.util.find_library("usb-1.0") is None:
        _preload_libusb()
    try:
        return importlib.import_module("pyrealsense2")
    except ImportError as error:
        raise CameraError(f"pyrealsense2 does not load ({error}); install it: pip install pyrealsense2") from error


def _preload_libusb() -> None:
    try:
        package = importlib.import_module("libusb_package")
        ctypes.CDLL(str(package.get_library_path()), mode=ctypes.RTLD_GLOBAL)
    except (ImportError, OSError) as error:
        raise CameraError(
            f"libusb is missing ({error}); install Debian's libusb-1.0-0 or: pip install libusb-package"
        ) from error
