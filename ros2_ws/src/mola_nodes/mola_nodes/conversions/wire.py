"""What all conversions share: stamps, versions, lengths, and numbers in bulk."""

from array import array
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration, Time

from mola_core.contracts.clock import NS_PER_S
from mola_core.contracts.errors import MolaError

_MAX_TIME_S = 2**31 - 1


class MessageError(MolaError):
    """A message is of another version, or its lengths contradict each other; it is dropped."""


def time_from_ns(stamp_ns: int) -> Time:
    """Stamp as a message; nanoseconds since the Unix epoch."""
    seconds, nanoseconds = divmod(int(stamp_ns), NS_PER_S)
    if not 0 <= seconds <= _MAX_TIME_S:
        raise MessageError(f"stamp {stamp_ns} ns does not fit a Time message; stamps count from 1970 in nanoseconds")
    return Time(sec=seconds, nanosec=nanoseconds)


def ns_from_time(time: Time) -> int:
    """Nanoseconds since the Unix epoch."""
    return int(time.sec) * NS_PER_S + int(time.nanosec)


def duration_from_ns(duration_ns: int) -> Duration:
    """Duration as a message; may be negative."""
    seconds, nanoseconds = divmod(int(duration_ns), NS_PER_S)
    if not -_MAX_TIME_S <= seconds <= _MAX_TIME_S:
        raise MessageError(f"duration {duration_ns} ns does not fit a Duration message")
    return Duration(sec=seconds, nanosec=nanoseconds)


def ns_from_duration(duration: Duration) -> int:
    """Nanoseconds of a duration."""
    return int(duration.sec) * NS_PER_S + int(duration.nanosec)


def check_version(message: Any, *, sender: str = "") -> None:
    """Refuse a message that means something else than this installation thinks; ``sender`` is named where the message says it.

    Raises:
        MessageError: ``message.version`` differs from the type's ``VERSION``.
    """
    if message.version != message.VERSION:
        origin = f" from {sender}" if sender else ""
        raise MessageError(
            f"{type(message).__name__} of version {message.version}{origin}, this node speaks {message.VERSION}; "
            "start all nodes from the same installation"
        )


def check_length(*, name: str, values: Any, length: int) -> None:
    """Refuse ``values`` that do not hold exactly ``length`` numbers."""
    if len(values) != length:
        raise MessageError(f"{name} holds {len(values)} numbers, {length} expected")


def vector_to_wire(*, name: str, values: np.ndarray, length: int) -> np.ndarray:
    """Contiguous float64 vector for a ``float64[length]`` field; its length is checked, since rclpy does not."""
    vector = np.ascontiguousarray(values, dtype=np.float64)
    if vector.shape != (length,):
        raise MessageError(f"{name} has shape {vector.shape}, ({length},) expected")
    return vector


def bytes_to_wire(values: np.ndarray) -> "array[int]":
    """``values`` in C order for a ``uint8[]`` field.

    Assigning an ``array('B')`` costs one copy; an ndarray, or bytes with field checks on, is walked number by number.
    """
    wire = array("B")
    wire.frombytes(np.ascontiguousarray(values).data.cast("B"))
    return wire


def doubles_to_wire(values: np.ndarray) -> "array[float]":
    """``values`` in C order for a ``float64[]`` field."""
    wire = array("d")
    wire.frombytes(np.ascontiguousarray(values, dtype=np.float64).data.cast("B"))
    return wire
