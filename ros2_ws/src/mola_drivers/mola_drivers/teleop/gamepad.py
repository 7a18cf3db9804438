"""A game controller through SDL (pygame), without a window.

Left stick: along x and y; triggers: down and up; right stick: turn about z and x; D-pad left and right: turn about y. Right
shoulder: deadman; A: gripper; D-pad up and down: faster, slower; Y: next frame. Start: begin or end an episode; X: success;
B: failure; Back: drop.
"""

import os
from types import TracebackType
from typing import Any, Self

import numpy as np
from jaxtyping import Float

from mola_core.contracts.errors import TeleopError
from mola_core.contracts.teleop import Press, TeleopCommand
from mola_drivers.teleop.specs import GamepadSpec
from mola_drivers.teleop.stick import GripperButton, deflected_twist

_BUTTONS = {
    Press.NEXT_FRAME: "Y",
    Press.FASTER: "DPAD_UP",
    Press.SLOWER: "DPAD_DOWN",
    Press.RECORD: "START",
    Press.SUCCESS: "X",
    Press.FAILURE: "B",
    Press.DROP: "BACK",
}
_FULL = 32767.0


class GamepadTeleop:
    """Behind :class:`mola_drivers.teleop.protocol.TeleopDevice`. SDL wants all of it in one thread."""

    name = "gamepad"

    def __init__(self, spec: GamepadSpec) -> None:
        self._spec = spec
        self._sdl: Any = None
        self._pad: Any = None
        self._gripper = GripperButton()
        self._held: set[Press] = set()
        self._lost = False

    def __enter__(self) -> Self:
        # SDL delivers a controller's state with its video events; the dummy driver needs no display.
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
        os.environ.setdefault("SDL_JOYSTICK_ALLOW_BACKGROUND_EVENTS", "1")
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        import pygame  # noqa: PLC0415 (half a second that no other device needs to wait for)
        from pygame._sdl2 import controller  # noqa: PLC0415

        pygame.display.init()
        controller.init()
        pygame.event.pump()
        self._sdl = pygame
        number = self._spec.index
        count = controller.get_count()
        if number >= count or not controller.is_controller(number):
            raise TeleopError(
                f"no gamepad number {number}: SDL sees {count} game controllers; plug one in, and see that you may read "
                "/dev/input/event* (group input)"
            )
        try:
            self._pad = controller.Controller(number)
        except pygame.error as error:
            raise TeleopError(f"gamepad number {number} does not open ({error}); unplug it and plug it in") from error
        self._lost = False
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pad is not None:
            self._pad.quit()
            self._pad = None

    def read(self, now_ns: int) -> TeleopCommand:
        if self._pad is None:
            raise TeleopError("the gamepad is not open; use it inside `with device:`")
        self._sdl.event.pump()
        self._sdl.event.clear()
        self._lost = self._lost or not self._pad.attached()
        deflection = np.zeros(6) if self._lost else self._deflection()
        self._gripper.update(held=self._button("A"))
        return TeleopCommand(
            stamp_ns=now_ns,
            motion=deflected_twist(deflection, spec=self._spec),
            gripper_opening=self._gripper.opening,
            enabled=self._button("RIGHTSHOULDER"),
            alive=not self._lost,
            pressed=tuple(self._presses()),
        )

    def _deflection(self) -> Float[np.ndarray, "6"]:
        """SDL's sticks point right and down."""
        turn_y = float(self._button("DPAD_RIGHT")) - float(self._button("DPAD_LEFT"))
        lift = self._axis("TRIGGERRIGHT") - self._axis("TRIGGERLEFT")
        turns = (-self._axis("RIGHTY"), turn_y, -self._axis("RIGHTX"))
        return np.array([self._axis("LEFTX"), -self._axis("LEFTY"), lift, *turns])

    def _axis(self, name: str) -> float:
        value: int = self._pad.get_axis(getattr(self._sdl, f"CONTROLLER_AXIS_{name}"))
        return value / _FULL

    def _button(self, name: str) -> bool:
        return not self._lost and bool(self._pad.get_button(getattr(self._sdl, f"CONTROLLER_BUTTON_{name}")))

    def _presses(self) -> list[Press]:
        held = {press for press, button in _BUTTONS.items() if self._button(button)}
        new = [press for press in Press if press in held - self._held]
        self._held = held
        return new
