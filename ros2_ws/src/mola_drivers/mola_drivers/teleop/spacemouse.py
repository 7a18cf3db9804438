"""A 3Dconnexion mouse through hidapi: six axes for a twist, one button as the deadman, one for the gripper."""

from types import TracebackType
from typing import Any, Self

import hidraw as hid  # the kernel's own HID driver: hidapi over libusb would have to take the mouse away from it

from mola_core.contracts.errors import TeleopError
from mola_core.contracts.teleop import Press, TeleopCommand
from mola_drivers.teleop.spacemouse_reports import MODELS, SpaceMouseModel, SpaceMouseState
from mola_drivers.teleop.specs import SpaceMouseSpec
from mola_drivers.teleop.stick import GripperButton, deflected_twist

_REPORT_BYTES = 64
_MOST_REPORTS = 64
"""Read at once; a mouse sends a few hundred a second."""


class SpaceMouseTeleop:
    """Behind :class:`mola_drivers.teleop.protocol.TeleopDevice`."""

    name = "spacemouse"

    def __init__(self, spec: SpaceMouseSpec) -> None:
        self._spec = spec
        self._device: Any = None
        self._model = MODELS[0]
        self._state = SpaceMouseState()
        self._gripper = GripperButton()
        self._held: set[Press] = set()
        self._lost = False

    def __enter__(self) -> Self:
        path, self._model = self._find()
        device = hid.device()
        try:
            device.open_path(path)
            device.set_nonblocking(1)
        except OSError as error:
            raise TeleopError(
                f"the {self._model.name} at {path.decode(errors='replace')} does not open ({error}); allow it with a "
                'udev rule: KERNEL=="hidraw*", ATTRS{idVendor}=="256f|046d", MODE="0660", TAG+="uaccess"'
            ) from error
        self._device, self._lost = device, False
        self._state = SpaceMouseState()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._device is not None:
            self._device.close()
            self._device = None

    def read(self, now_ns: int) -> TeleopCommand:
        if self._device is None and not self._lost:
            raise TeleopError("the SpaceMouse is not open; use it inside `with device:`")
        self._take_reports()
        state, model = self._state, self._model
        self._gripper.update(held=state.holds(model.gripper))
        return TeleopCommand(
            stamp_ns=now_ns,
            motion=deflected_twist(state.deflection, spec=self._spec),
            gripper_opening=self._gripper.opening,
            enabled=state.holds(model.deadman) and not self._lost,
            alive=not self._lost,
            pressed=tuple(self._presses()),
        )

    def _find(self) -> tuple[bytes, SpaceMouseModel]:
        by_number = {(model.vendor, model.product): model for model in MODELS}
        if self._spec.path:
            path = self._spec.path.encode()
            seen = {info["path"]: (info["vendor_id"], info["product_id"]) for info in hid.enumerate()}
            return path, by_number.get(seen.get(path, (0, 0)), MODELS[0])
        for info in hid.enumerate():
            model = by_number.get((info["vendor_id"], info["product_id"]))
            if model is not None:
                return info["path"], model
        raise TeleopError(
            f"no SpaceMouse is plugged in; known are {', '.join(model.name for model in MODELS)}. Plug one in, "
            "or give its HID path in a device file (kind: spacemouse, path: …)"
        )

    def _take_reports(self) -> None:
        try:
            for _ in range(_MOST_REPORTS):
                report = None if self._device is None else self._device.read(_REPORT_BYTES)
                if not report:
                    return
                self._state.take(report)
        except OSError:  # unplugged
            self._lost = True
            self._state = SpaceMouseState()

    def _presses(self) -> list[Press]:
        """Buttons that were not held at the last reading."""
        model = self._model
        buttons = {Press.NEXT_FRAME: model.next_frame, Press.FASTER: model.faster, Press.SLOWER: model.slower}
        held = {press for press, button in buttons.items() if self._state.holds(button)}
        new = [press for press in Press if press in held - self._held]
        self._held = held
        return new
