"""What a person does at the pendant after an emergency stop, over the controller's dashboard."""

import socket
from typing import TextIO

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S, Clock, SystemClock
from mola_core.contracts.errors import ArmError

_PORT = 29999
_TIMEOUT_S = 5.0
_POWER_UP_S = 15.0


def release_brakes(host: str, *, clock: Clock | None = None) -> None:
    """Close the pop-ups, power the arm on and release its brakes.

    Raises:
        ArmError: the controller does not get to RUNNING.
    """
    clock = clock or SystemClock()
    with socket.create_connection((host, _PORT), timeout=_TIMEOUT_S) as connection:
        stream = connection.makefile("rw", encoding="utf-8", newline="\n")
        stream.readline()  # the greeting
        for command in ("close safety popup", "close popup", "power on"):
            _ask(stream, command)
        _wait_for(stream, clock, wanted=("IDLE", "RUNNING"))
        _ask(stream, "brake release")
        _wait_for(stream, clock, wanted=("RUNNING",))


def _ask(stream: TextIO, command: str) -> str:
    stream.write(f"{command}\n")
    stream.flush()
    return str(stream.readline()).strip()


def _wait_for(stream: TextIO, clock: Clock, *, wanted: tuple[str, ...]) -> None:
    deadline_ns = clock.monotonic_ns() + round(_POWER_UP_S * NS_PER_S)
    while True:
        answer = _ask(stream, "robotmode")
        if answer.endswith(wanted):
            return
        if clock.monotonic_ns() > deadline_ns:
            raise ArmError(f"the arm is not {' or '.join(wanted)} {_POWER_UP_S:g} s after power on: {answer}")
        clock.sleep_until(clock.monotonic_ns() + 100 * NS_PER_MS)
