"""Checks of addresses: the twin's ports, DDS discovery, the site's arm."""

import os
import socket
from collections.abc import Sequence

from mola_core.cli.doctor.finding import Context, Finding, missing, note, ok

TWIN_HOST = "127.0.0.2"
TWIN_PORTS = (29999, 30003, 30004, 30150, 30151, 30152, 63352)
_ARM_PORTS = {29999: "dashboard", 30003: "script upload", 30004: "RTDE"}
_CONNECT_TIMEOUT_S = 2.0


def twin_ports(_: Context) -> Sequence[Finding]:
    """Whether a twin could be started on its default address."""
    taken = [port for port in TWIN_PORTS if not _can_bind(TWIN_HOST, port)]
    if not taken:
        return [ok("twin's ports", f"free on {TWIN_HOST}")]
    ports = ", ".join(map(str, taken))
    return [
        note("twin's ports", f"taken on {TWIN_HOST}: {ports}", "a twin is running already; or choose another --host")
    ]


def discovery(_: Context) -> Sequence[Finding]:
    """Who will see our topics."""
    domain, scope = os.environ.get("ROS_DOMAIN_ID", "0"), os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    found = f"domain {domain}, range {scope}"
    if scope == "SUBNET":
        cure = "where others run ROS: export ROS_DOMAIN_ID=… or ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST"
        return [note("ROS discovery", found, cure)]
    return [ok("ROS discovery", found)]


def arm(context: Context) -> Sequence[Finding]:
    """Whether the site's controller accepts connections; nothing is sent."""
    if context.site is None:
        return []
    host = context.site.arm.host
    refused = {port: reason for port in _ARM_PORTS if (reason := _refusal(host, port))}
    if not refused:
        return [ok("arm", f"{host} accepts connections on {', '.join(map(str, _ARM_PORTS))}")]
    found = ", ".join(f"{host}:{port} ({_ARM_PORTS[port]}): {reason}" for port, reason in refused.items())
    is_twin = host.startswith("127.")
    cure = (
        "mola twin serve" if is_twin else "power, cable, arm.host in the site file; enable the services on the pendant"
    )
    return [note("arm", found, cure) if is_twin else missing("arm", found, cure, twin=False)]


def _can_bind(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _refusal(host: str, port: int) -> str:
    """Why a connection fails; empty where it succeeds."""
    try:
        with socket.create_connection((host, port), timeout=_CONNECT_TIMEOUT_S):
            return ""
    except TimeoutError:
        return f"no answer within {_CONNECT_TIMEOUT_S:.0f} s"
    except OSError as error:
        return error.strerror or str(error)
