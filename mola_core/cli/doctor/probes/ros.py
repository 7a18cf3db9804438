"""Loads ROS 2 and our messages."""

import importlib.metadata
import json
import os

import rclpy
from mola_interfaces.msg import ActionChunk
from rclpy.utilities import get_rmw_implementation_identifier


def main() -> None:
    """Print where ROS 2 comes from, its middleware, and how many fields an action chunk has."""
    print(
        json.dumps(
            {
                "path": rclpy.__file__,
                "distro": os.environ.get("ROS_DISTRO", ""),
                "rclpy": _version(),
                "rmw": get_rmw_implementation_identifier(),
                "fields": len(ActionChunk.get_fields_and_field_types()),
            }
        )
    )


def _version() -> str:
    try:
        return importlib.metadata.version("rclpy")
    except importlib.metadata.PackageNotFoundError:
        return ""


if __name__ == "__main__":
    main()
