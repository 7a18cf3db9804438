"""A virtual game controller inside the SDL that pygame brings along."""

import ctypes
from pathlib import Path

import pygame

_GAME_CONTROLLER = 1


class VirtualPad:
    """Axes and buttons in SDL's order; shows up as game controller number 0."""

    def __init__(self) -> None:
        libraries = sorted((Path(pygame.__file__).parents[1] / "pygame_ce.libs").glob("libSDL2-2*"))
        self._sdl = ctypes.CDLL(str(libraries[0]))
        self._sdl.SDL_JoystickOpen.restype = ctypes.c_void_p
        self._index = self._sdl.SDL_JoystickAttachVirtual(_GAME_CONTROLLER, 6, 15, 0)
        assert self._index >= 0, "SDL has no virtual joysticks"
        self._joystick = ctypes.c_void_p(self._sdl.SDL_JoystickOpen(self._index))

    def move(self, axis: int, deflection: float) -> None:
        """-1..1."""
        self._sdl.SDL_JoystickSetVirtualAxis(self._joystick, axis, ctypes.c_int16(round(32767 * deflection)))

    def press(self, button: int, *, held: bool = True) -> None:
        self._sdl.SDL_JoystickSetVirtualButton(self._joystick, button, ctypes.c_uint8(held))

    def unplug(self) -> None:
        if self._index >= 0:
            self._sdl.SDL_JoystickDetachVirtual(self._index)
            self._index = -1
