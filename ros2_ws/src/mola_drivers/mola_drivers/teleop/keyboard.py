"""Keys of the terminal: no window system, works over ssh.

A terminal reports keys as they are typed and repeated, and never that one was let go. So a motion key counts as held for a
while after each report, and the deadman is held while any motion key is: hands off the keyboard, the arm rests.

    d a  w s  r f   along x, y, z (right, away and up in the camera's view)      i k  j l  u o   turn about x, y, z
    space  gripper      + -  faster, slower      v  next frame      h  hold (deadman without motion)
    c  start or stop an episode      y  success      n  failure      backspace  drop
"""

import os
import select
import sys
import termios
import tty
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import numpy as np

from mola_core.contracts.clock import NS_PER_MS
from mola_core.contracts.errors import TeleopError
from mola_core.contracts.teleop import Press, TeleopCommand
from mola_drivers.teleop.specs import KeyboardSpec
from mola_drivers.teleop.stick import GripperButton, deflected_twist

AXES = {
    "d": (0, 1.0),
    "a": (0, -1.0),
    "w": (1, 1.0),
    "s": (1, -1.0),
    "r": (2, 1.0),
    "f": (2, -1.0),
    "i": (3, 1.0),
    "k": (3, -1.0),
    "j": (4, 1.0),
    "l": (4, -1.0),
    "u": (5, 1.0),
    "o": (5, -1.0),
}
"""Key to axis (along x, y, z, about x, y, z) and direction."""
HOLD, GRIPPER = "h", " "
PRESSES = {
    "+": Press.FASTER,
    "=": Press.FASTER,
    "-": Press.SLOWER,
    "v": Press.NEXT_FRAME,
    "c": Press.RECORD,
    "y": Press.SUCCESS,
    "n": Press.FAILURE,
    "\x7f": Press.DROP,
}


class KeyboardTeleop:
    """Behind :class:`mola_drivers.teleop.protocol.TeleopDevice`; takes over the terminal while entered."""

    name = "keyboard"

    def __init__(self, spec: KeyboardSpec, *, open_terminal: Callable[[], int] = sys.stdin.fileno) -> None:
        """``open_terminal`` gives the file descriptor of the terminal; this process's standard input by default."""
        self._spec = spec
        self._open_terminal = open_terminal
        self._fd: int | None = None
        self._before: list[Any] = []
        self._held_until_ns: dict[str, int] = {}
        self._gripper = GripperButton()
        self._lost = False

    def __enter__(self) -> Self:
        try:
            fd = self._open_terminal()
            self._before = termios.tcgetattr(fd)
            tty.setcbreak(fd)
        except (OSError, ValueError, termios.error) as error:
            raise TeleopError(
                f"the keyboard needs a terminal, and standard input is none ({error}); "
                "run `mola teleop --device keyboard` in one"
            ) from error
        self._fd, self._lost = fd, False
        self._held_until_ns.clear()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._fd is None:
            return
        fd, self._fd = self._fd, None
        try:
            termios.tcsetattr(fd, termios.TCSADRAIN, self._before)
        except (OSError, termios.error):
            return  # the terminal is gone

    def read(self, now_ns: int) -> TeleopCommand:
        if self._fd is None:
            raise TeleopError("the keyboard is not open; use it inside `with device:`")
        presses = [press for key in self._typed() if (press := self._take(key, now_ns)) is not None]
        held = {key for key, until_ns in self._held_until_ns.items() if now_ns < until_ns}
        deflection = np.zeros(6)
        for key in held - {HOLD}:
            axis, direction = AXES[key]
            deflection[axis] += direction
        return TeleopCommand(
            stamp_ns=now_ns,
            motion=deflected_twist(deflection, spec=self._spec),
            gripper_opening=self._gripper.opening,
            enabled=bool(held) and not self._lost,
            alive=not self._lost,
            pressed=tuple(presses),
        )

    def _take(self, key: str, now_ns: int) -> Press | None:
        if key in AXES or key == HOLD:
            repeats = now_ns < self._held_until_ns.get(key, 0)
            hold_ms = self._spec.hold_ms if repeats else self._spec.first_hold_ms
            self._held_until_ns[key] = now_ns + hold_ms * NS_PER_MS
        elif key == GRIPPER:
            self._gripper.toggle()
        return PRESSES.get(key)

    def _typed(self) -> str:
        """What was typed since the last reading."""
        fd, typed = self._fd, b""
        if fd is None or self._lost:
            return ""
        try:
            while select.select([fd], [], [], 0)[0]:
                part = os.read(fd, 256)
                if not part:
                    self._lost = True
                    break
                typed += part
        except OSError:
            self._lost = True
        return typed.decode("ascii", errors="ignore").lower()
