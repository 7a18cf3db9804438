"""Every RTDE input of the twin, and what writing it does."""

import math
from collections.abc import Sequence
from typing import Any

from mola_twin.controller.registers import (
    CONFIGURABLE_OUTPUTS,
    NUM_REGISTERS,
    STANDARD_OUTPUTS,
    TOOL_OUTPUTS,
    ControlBox,
)
from mola_twin.controller.robot import Robot
from mola_twin.controller.rtde_codec import STRUCT_CODES, Layout

_BANKS = {
    "standard_digital_output": STANDARD_OUTPUTS,
    "configurable_digital_output": CONFIGURABLE_OUTPUTS,
    "tool_digital_output": TOOL_OUTPUTS,
}

INPUTS: dict[str, str] = {
    **{f"input_int_register_{index}": "INT32" for index in range(NUM_REGISTERS)},
    **{f"input_double_register_{index}": "DOUBLE" for index in range(NUM_REGISTERS)},
    **{f"{bank}_mask": "UINT8" for bank in _BANKS},
    **dict.fromkeys(_BANKS, "UINT8"),
    "speed_slider_mask": "UINT32",
    "speed_slider_fraction": "DOUBLE",
    "standard_analog_output_mask": "UINT8",
    "standard_analog_output_type": "UINT8",
    "standard_analog_output_0": "DOUBLE",
    "standard_analog_output_1": "DOUBLE",
    "external_force_torque": "VECTOR6D",
}
"""Type of every input by its RTDE name."""


class InputRecipe:
    """A set of inputs that a client writes together."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = frozenset(names)
        self.layout = Layout.of([INPUTS[name] for name in names])
        self._fields: list[tuple[str, int, int]] = []
        """Name, and first and last index among the unpacked values."""
        first = 1
        for name in names:
            count = int(STRUCT_CODES[INPUTS[name]][:-1] or 1)
            self._fields.append((name, first, first + count))
            first += count
        self._registers: list[tuple[bool, int, int]] = []
        self._others: list[tuple[str, int, int]] = []
        for name, start, end in self._fields:
            kind, _, index = name.rpartition("_register_")
            if kind in {"input_int", "input_double"}:
                self._registers.append((kind == "input_int", int(index), start))
            else:
                self._others.append((name, start, end))

    def apply(self, payload: bytes, *, robot: Robot) -> None:
        """Write a data package's values; raises ``struct.error`` if its length is not the recipe's."""
        values = self.layout.packed.unpack(payload)
        ints, doubles = robot.registers.input_int, robot.registers.input_double
        for is_int, index, position in self._registers:
            if is_int:
                ints[index] = values[position]
            else:
                doubles[index] = values[position]
        if self._others:
            _apply_others({name: values[start:end] for name, start, end in self._others}, robot=robot)
        robot.inputs_written(self.names)


def _apply_others(values: dict[str, tuple[Any, ...]], *, robot: Robot) -> None:
    for bank, where in _BANKS.items():
        if bank in values:
            (value,) = values[bank]
            (mask,) = values.get(f"{bank}_mask", (0,))
            robot.box.set_digital(where, mask=mask, value=value)
    if "speed_slider_fraction" in values and values.get("speed_slider_mask", (0,))[0]:
        (fraction,) = values["speed_slider_fraction"]
        if math.isfinite(fraction):
            robot.set_speed_slider(fraction)
    if "standard_analog_output_mask" in values:
        _apply_analog(values, box=robot.box)


def _apply_analog(values: dict[str, tuple[Any, ...]], *, box: ControlBox) -> None:
    (mask,) = values["standard_analog_output_mask"]
    for channel in range(2):
        name = f"standard_analog_output_{channel}"
        if mask & (1 << channel) and name in values:
            box.analog_outputs[channel] = min(max(float(values[name][0]), 0.0), 1.0)
