"""Whether the person's motion reaches the arm: deadman or clutch, gates, and a fresh press after every stop."""

from mola_core.control.teleop.settings import EngageMode


class Engagement:
    """Fed with every reading of the device."""

    def __init__(self, mode: EngageMode) -> None:
        self._mode = mode
        self._was_held = True  # a switch that is held when the node starts counts only after it was let go
        self._wanted = False
        self._armed = False
        self.engaged = False
        self.reason = ""
        """Why it is not engaged though the person wants it."""

    def update(self, *, held: bool, obstacle: str, gate: str) -> None:
        """Take one reading.

        ``obstacle`` forbids motion: it disengages, and the switch must be pressed anew. ``gate`` holds back the engaging
        only, for as long as it lasts. Both are empty when there is none.
        """
        pressed, let_go = held and not self._was_held, self._was_held and not held
        self._was_held = held
        if self._mode is EngageMode.CLUTCH:
            self._wanted = self._wanted ^ pressed
            self._armed = self._armed or pressed
        else:
            self._wanted = held
            self._armed = self._armed or pressed
            if let_go:
                self._armed = False
        if not self._wanted:
            self.engaged, self.reason = False, ""
        elif obstacle:
            self._refuse(obstacle)
        elif not self.engaged and self._armed:
            self.engaged, self.reason = not gate, gate

    def lose(self, reason: str) -> None:
        """The device is gone: let go at once."""
        self._was_held = True
        self._refuse(reason)

    def _refuse(self, reason: str) -> None:
        self.engaged = self._armed = False
        self.reason = reason
        if self._mode is EngageMode.CLUTCH:
            self._wanted = False
