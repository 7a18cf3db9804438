"""The controller's TCP ports, and whether it answers there, before the library is let near them.

ur_rtde's constructors hold the GIL and wait without a limit for a controller that accepts and then says nothing. These
checks find such a controller first.
"""

import socket
import struct

from mola_core.contracts.errors import ArmError

RTDE_PORT = 30004
SCRIPT_PORT = 30003
DASHBOARD_PORT = 29999

_TIMEOUT_S = 2.0
_PROTOCOL_VERSION = 2
_REQUEST_PROTOCOL_VERSION = ord("V")


def connect(*, host: str, port: int) -> socket.socket:
    """A connection made within two seconds.

    Raises:
        ArmError: unknown name, refused, or no answer.
    """
    try:
        return socket.create_connection((host, port), timeout=_TIMEOUT_S)
    except socket.gaierror as error:
        raise ArmError(
            f"arm host {host!r} is not a known name or address; correct arm.host in the site file"
        ) from error
    except TimeoutError as error:
        raise ArmError(
            f"no answer from {host}:{port} within {_TIMEOUT_S:g} s; is the controller on, and on this network?"
        ) from error
    except OSError as error:
        raise ArmError(
            f"{host}:{port} refuses the connection ({error.strerror}); is this the arm's address, and has it booted?"
        ) from error


def probe_rtde(*, host: str) -> None:
    """Does the controller speak RTDE version 2?

    Raises:
        ArmError: not reachable, silent, or something else listens there.
    """
    with connect(host=host, port=RTDE_PORT) as connection:
        try:
            connection.sendall(struct.pack(">HBH", 5, _REQUEST_PROTOCOL_VERSION, _PROTOCOL_VERSION))
            answer = connection.recv(4, socket.MSG_WAITALL)
        except OSError as error:
            raise ArmError(f"{host}:{RTDE_PORT} accepts but says nothing ({error}); restart the controller") from error
    if answer != struct.pack(">HBB", 4, _REQUEST_PROTOCOL_VERSION, 1):
        raise ArmError(
            f"{host}:{RTDE_PORT} does not speak RTDE version 2 (answer {answer!r}); is this the arm's address?"
        )


def probe_script_port(*, host: str) -> None:
    """Does the controller take scripts?

    Raises:
        ArmError: not reachable.
    """
    connect(host=host, port=SCRIPT_PORT).close()
