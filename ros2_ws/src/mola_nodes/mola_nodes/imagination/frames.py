"""The newest frame of each camera, kept as it came: it becomes pixels only when somebody imagines from it."""

import threading
from collections.abc import Iterable, Mapping

import numpy as np
from jaxtyping import UInt8
from sensor_msgs.msg import Image

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S, Clock
from mola_nodes.conversions.images import color_from_message
from mola_nodes.conversions.wire import MessageError, ns_from_time


class NewestFrames:
    """Written by the executor's thread, waited for by the imagining one."""

    def __init__(self, roles: Iterable[str], *, clock: Clock) -> None:
        self._messages: dict[str, Image | None] = dict.fromkeys(roles)
        self._clock = clock
        self._changed = threading.Condition()

    def note(self, role: str, message: Image) -> None:
        """A frame of the camera with ``role`` has arrived."""
        with self._changed:
            self._messages[role] = message
            self._changed.notify_all()

    def wait(self, role: str, *, after_ns: int, timeout_s: float) -> bool:
        """Whether a frame of ``role`` newer than ``after_ns`` is there within ``timeout_s``."""
        deadline_ns = self._clock.monotonic_ns() + round(timeout_s * NS_PER_S)
        with self._changed:
            while self._stamp_ns(role) <= after_ns:
                left_s = (deadline_ns - self._clock.monotonic_ns()) / NS_PER_S
                if left_s <= 0:
                    return False
                self._changed.wait(left_s)
            return True

    def newest(self, roles: Iterable[str]) -> dict[str, Image]:
        """What came last from the cameras that have delivered."""
        with self._changed:
            return {role: message for role in roles if (message := self._messages.get(role)) is not None}

    def stale(self, stamps_ns: dict[str, int], *, limit_ms: int) -> str:
        """Which of the frames is too old to imagine from; empty when none is."""
        now_ns = self._clock.now_ns()
        old = [
            f"{role} {(now_ns - stamp) / NS_PER_MS:.0f} ms"
            for role, stamp in stamps_ns.items()
            if now_ns - stamp > limit_ms * NS_PER_MS
        ]
        return ", ".join(old)

    def _stamp_ns(self, role: str) -> int:
        message = self._messages[role]
        return 0 if message is None else ns_from_time(message.header.stamp)


def stamps_of(messages: Mapping[str, Image]) -> dict[str, int]:
    """When each frame was taken."""
    return {role: ns_from_time(message.header.stamp) for role, message in messages.items()}


def pixels_of(messages: Mapping[str, Image]) -> dict[str, UInt8[np.ndarray, "height width 3"]]:
    """Views into the messages.

    Raises:
        MessageError: a camera sends something other than rgb8 images.
    """
    return {role: _pixels(role, message) for role, message in messages.items()}


def _pixels(role: str, message: Image) -> UInt8[np.ndarray, "height width 3"]:
    try:
        return color_from_message(message)
    except MessageError as error:
        raise MessageError(f"camera {role}: {error}") from error
