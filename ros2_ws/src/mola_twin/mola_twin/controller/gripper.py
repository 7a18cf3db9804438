"""A Robotiq 2F-85 as its registers show it: activation, motion, object detection, faults.

Where a cell runs, the fingers are the cell's and this model only commands and reports; otherwise they close on air.
"""

from dataclasses import dataclass, field

COUNTS = 255
"""Position register from open (0) to closed; calibration offsets of real fingers are not modelled."""
ACTIVATION_S = 1.2
STROKE_MM = 85.0
SLOWEST_MM_S, FASTEST_MM_S = 20.0, 150.0
"""Robotiq 2F-85 manual: 20 to 150 mm/s."""
_ARRIVED = 0.012
"""Opening within which the target counts as reached: three counts."""
_SETTLED_S = 0.15

MOVING, STOPPED_OPENING, STOPPED_CLOSING, AT_TARGET = 0, 1, 2, 3
FAULT_NONE, FAULT_ACTIVATING, FAULT_NOT_ACTIVATED = 0, 5, 7
RESET, ACTIVATING, ACTIVE = 0, 1, 3


@dataclass(slots=True)
class Gripper:
    """State of the gripper. Openings are fractions: 0 closed, 1 open."""

    opening: float = 1.0
    blocked: bool = False
    stuck: bool = False
    """Injected fault: the fingers do not move."""
    powered: bool = True
    activated: bool = False
    go_to: bool = False
    auto_release: bool = False
    position_request: int = 0
    speed: int = COUNTS
    force: int = 0
    _activation_left_s: float = field(default=0.0)
    _still_s: float = field(default=0.0)

    @property
    def status(self) -> int:
        """STA."""
        if not self.activated:
            return RESET
        return ACTIVE if self._activation_left_s <= 0.0 else ACTIVATING

    @property
    def target(self) -> float:
        """Opening that the fingers are asked for."""
        if self.status == ACTIVE:
            return 1.0 - self.position_request / COUNTS if self.go_to else self.opening
        return 1.0 if self.status == ACTIVATING else self.opening

    @property
    def position(self) -> int:
        """POS."""
        return min(max(round((1.0 - self.opening) * COUNTS), 0), COUNTS)

    @property
    def object_status(self) -> int:
        """OBJ."""
        if self.status != ACTIVE:
            return MOVING
        error = self.target - self.opening
        if abs(error) <= _ARRIVED:
            return AT_TARGET
        if self.blocked and not self.stuck:
            return STOPPED_OPENING if error > 0.0 else STOPPED_CLOSING
        if self._still_s >= _SETTLED_S and not self.stuck:
            return AT_TARGET  # as close as these fingers get
        return MOVING

    @property
    def fault(self) -> int:
        """FLT."""
        if self.go_to and not self.activated:
            return FAULT_NOT_ACTIVATED
        if self.go_to and self.status == ACTIVATING:
            return FAULT_ACTIVATING
        return FAULT_NONE

    def activate(self, *, on: bool) -> None:
        """Rising edge starts the activation; falling edge resets."""
        if on and not self.activated:
            self._activation_left_s = ACTIVATION_S
        if not on:
            self.go_to = False
        self.activated = on

    def request(self, position: int) -> None:
        """A new target, in counts."""
        self.position_request = position
        self._still_s = 0.0

    def lose_power(self) -> None:
        """The tool flange is switched off: everything set is forgotten."""
        self.powered = self.activated = self.go_to = False

    def step(self, dt: float, *, seen: tuple[float, bool] | None) -> None:
        """Advance by ``dt``; ``seen`` is opening and blocked as the cell reports them, None without a cell."""
        self._activation_left_s = max(self._activation_left_s - dt, 0.0)
        before = self.opening
        if seen is not None:
            self.opening, self.blocked = seen
        elif not self.stuck and self.powered:
            self.blocked = False
            rate = (SLOWEST_MM_S + (FASTEST_MM_S - SLOWEST_MM_S) * self.speed / COUNTS) / STROKE_MM
            change = self.target - self.opening
            self.opening += min(max(change, -rate * dt), rate * dt)
        self._still_s = self._still_s + dt if abs(self.opening - before) < 1e-5 else 0.0
