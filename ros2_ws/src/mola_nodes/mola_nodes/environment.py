"""The environment in which a process of ours joins the graph that it started itself."""

import os
import random
from collections.abc import MutableMapping
from pathlib import Path

from ament_index_python.packages import get_package_share_directory

MAX_DOMAIN_ID = 101
"""Above this, DDS ports run into the ephemeral ports of Linux."""


def isolate_graph(environment: MutableMapping[str, str] = os.environ) -> None:
    """Keep what is started from here to this machine and, unless the user chose a domain, to a domain of its own.

    Call before rclpy is initialised and before processes are started; they inherit it.
    """
    environment.setdefault("ROS_DOMAIN_ID", str(random.randint(1, MAX_DOMAIN_ID)))  # noqa: S311 - not a secret
    join_graph(environment)


def join_graph(environment: MutableMapping[str, str] = os.environ) -> None:
    """Speak to a graph that somebody else started on this machine: the user's domain, or ROS's default of 0.

    Call before rclpy is initialised.
    """
    profile = str(Path(get_package_share_directory("mola_bringup")) / "dds" / "fastdds.xml")
    environment.setdefault("ROS_DOMAIN_ID", "0")
    environment.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    environment.setdefault("FASTRTPS_DEFAULT_PROFILES_FILE", profile)
    environment.setdefault("FASTDDS_DEFAULT_PROFILES_FILE", profile)
