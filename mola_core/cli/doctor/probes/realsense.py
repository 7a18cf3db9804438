"""Asks librealsense which cameras are plugged in."""

import ctypes
import importlib.util
import json


def main() -> None:
    """Print the library's version and name, serial number and USB type of each camera."""
    _provide_libusb()
    import pyrealsense2 as rs  # noqa: PLC0415  # libusb has to be there first

    keys = {
        "name": rs.camera_info.name,
        "serial": rs.camera_info.serial_number,
        "usb": rs.camera_info.usb_type_descriptor,
    }
    cameras = [
        {key: device.get_info(info) for key, info in keys.items() if device.supports(info)}
        for device in rs.context().query_devices()
    ]
    print(json.dumps({"version": rs.__version__, "cameras": cameras}))


def _provide_libusb() -> None:
    """librealsense links libusb; where the system has none, the wheel's is loaded first."""
    try:
        ctypes.CDLL("libusb-1.0.so.0", mode=ctypes.RTLD_GLOBAL)
    except OSError:
        if importlib.util.find_spec("libusb_package") is not None:
            import libusb_package  # noqa: PLC0415

            ctypes.CDLL(str(libusb_package.get_library_path()), mode=ctypes.RTLD_GLOBAL)


if __name__ == "__main__":
    main()
