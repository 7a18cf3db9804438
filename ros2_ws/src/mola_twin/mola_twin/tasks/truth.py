"""What the simulator knows and no camera says: poses, openings, who touches whom."""

from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float

from mola_core.contracts.geometry import Transform


@dataclass(frozen=True)
class ObjectTruth:
    """One free object or one piece of furniture."""

    base_from_object: Transform
    linear_speed: float
    """m/s."""
    angular_speed: float
    """rad/s."""
    touches: tuple[str, ...] = ()
    """What it touches: names of objects and furniture, ``table``, ``finger_left``, ``finger_right``, ``arm``."""

    @property
    def position(self) -> Float[np.ndarray, "3"]:
        """Origin of the object's frame, m."""
        return self.base_from_object[:3, 3]

    @property
    def yaw(self) -> float:
        """Turn of the object's x axis about the vertical, rad."""
        return float(np.arctan2(self.base_from_object[1, 0], self.base_from_object[0, 0]))

    @property
    def tilt(self) -> float:
        """Angle of the object's z axis from the vertical, rad."""
        return float(np.arccos(np.clip(self.base_from_object[2, 2], -1.0, 1.0)))

    @property
    def held(self) -> bool:
        """Whether both fingers touch it."""
        return "finger_left" in self.touches and "finger_right" in self.touches

    @property
    def handled(self) -> bool:
        """Whether any part of the robot touches it."""
        return not {"finger_left", "finger_right", "arm"}.isdisjoint(self.touches)


@dataclass(frozen=True)
class Truth:
    """The world at one instant."""

    stamp_ns: int
    elapsed_s: float
    """Simulated time since the last reset."""
    task: str
    stack_top: str
    stack_bottom: str
    base_from_tcp: Transform
    gripper_opening: float
    objects: dict[str, ObjectTruth]
    """Free objects, distractors included, and furniture by name."""
    drawer_opening: float
    """m."""
    drawer_speed: float
    handle_position: Float[np.ndarray, "3"]
    """Middle of the drawer's handle, m."""
    button_travel: float
    """m the button is pressed in."""
    button_position: Float[np.ndarray, "3"]
    """Middle of the button's top, m."""
    button_pressed: bool
    """Whether the button has been pressed since the last reset."""

    def to_json(self) -> dict[str, object]:
        """Plain numbers and lists, for the wire."""
        return plain(asdict(self))  # type: ignore[return-value]

    @classmethod
    def from_json(cls, content: dict[str, object]) -> "Truth":
        """Inverse of :meth:`to_json`."""
        fields = dict(content)
        fields["objects"] = {
            name: ObjectTruth(
                **{
                    **entry,
                    "base_from_object": np.array(entry["base_from_object"]),
                    "touches": tuple(entry["touches"]),
                }
            )
            for name, entry in content["objects"].items()  # type: ignore[attr-defined]
        }
        for name in ("base_from_tcp", "handle_position", "button_position"):
            fields[name] = np.array(content[name])
        return cls(**fields)  # type: ignore[arg-type]


def plain(value: object) -> object:
    """``value`` with arrays as lists and numpy's scalars as Python's, for JSON."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value
