"""One row of the table of commands."""

from collections.abc import Callable
from dataclasses import dataclass

from mola_twin.controller.program import ControlProgram, Steps

Run = Callable[[ControlProgram], Steps | None]
"""Serves a command; returns the remaining cycles of one that takes time."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command of ur_rtde's control script. ``run`` is None where the twin does not serve it; ``note`` then says why."""

    number: int
    name: str
    call: str
    """The client's method."""
    run: Run | None
    every_cycle: bool = False
    """Run in every cycle in which the command stands in the register; the others run once."""
    note: str = ""
