"""The registers through which a client and the uploaded program talk, and the inputs and outputs of the control box."""

from collections.abc import Sequence
from dataclasses import dataclass, field

NUM_REGISTERS = 48


@dataclass(slots=True)
class Registers:
    """General purpose registers; they outlive programs and connections, as on the real controller."""

    input_int: list[int] = field(default_factory=lambda: [0] * NUM_REGISTERS)
    input_double: list[float] = field(default_factory=lambda: [0.0] * NUM_REGISTERS)
    output_int: list[int] = field(default_factory=lambda: [0] * NUM_REGISTERS)
    output_double: list[float] = field(default_factory=lambda: [0.0] * NUM_REGISTERS)

    def write_vector(self, offset: int, values: Sequence[float]) -> None:
        """Put ``values`` into the output double registers from ``offset`` on."""
        self.output_double[offset : offset + len(values)] = [float(value) for value in values]


STANDARD_OUTPUTS = slice(0, 8)
CONFIGURABLE_OUTPUTS = slice(8, 16)
TOOL_OUTPUTS = slice(16, 18)


@dataclass(slots=True)
class ControlBox:
    """Digital and analogue inputs and outputs; nothing is wired to the inputs."""

    digital_outputs: int = 0
    """Bits 0-7 standard, 8-15 configurable, 16-17 tool: RTDE's ``actual_digital_output_bits``."""
    digital_inputs: int = 0
    analog_outputs: list[float] = field(default_factory=lambda: [0.0, 0.0])
    """Fraction 0..1 of the range."""

    def set_digital(self, where: slice, *, mask: int, value: int) -> None:
        """Set those outputs of one bank whose bit in ``mask`` is 1."""
        bank = (1 << (where.stop - where.start)) - 1
        mask = (mask & bank) << where.start
        self.digital_outputs = (self.digital_outputs & ~mask) | ((value << where.start) & mask)
