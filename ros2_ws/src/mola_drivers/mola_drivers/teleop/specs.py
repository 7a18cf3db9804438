"""Descriptions of teleoperation devices: a kind's name where the defaults do, or a YAML or JSON file."""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from mola_core.contracts.errors import ConfigError
from mola_core.contracts.teleop import TwistFrame

Vector6 = tuple[float, float, float, float, float, float]


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ScriptedTwistSpec(_Spec):
    """One twist, held for a while."""

    duration_s: float = Field(gt=0, le=600)
    velocity: Vector6
    """m/s, then rad/s."""
    frame: TwistFrame = TwistFrame.BASE
    gripper_opening: float | None = Field(default=None, ge=0, le=1)
    enabled: bool = True


class ScriptedTeleopSpec(_Spec):
    """A scripted device: for tests, demonstrations and benchmarks."""

    kind: Literal["scripted"]
    steps: tuple[ScriptedTwistSpec, ...] = Field(min_length=1)
    start_ns: int | None = Field(default=None, ge=0)
    """Stamp at which the first step begins; None: with the first reading."""


class StickSpec(_Spec):
    """What every device has whose deflection is a velocity."""

    linear_speed: float = Field(default=0.25, gt=0, le=1)
    """m/s at full deflection."""
    angular_speed: float = Field(default=0.8, gt=0, le=3)
    """rad/s at full deflection."""
    deadband: float = Field(default=0.08, ge=0, lt=0.9)
    """Fraction of the deflection that counts as none."""


class SpaceMouseSpec(StickSpec):
    """A 3Dconnexion mouse: six axes, at least two buttons."""

    kind: Literal["spacemouse"] = "spacemouse"
    path: str = ""
    """Of the HID device, where there are several; empty takes the first one."""


class GamepadSpec(StickSpec):
    """A game controller as SDL knows it."""

    kind: Literal["gamepad"] = "gamepad"
    index: int = Field(default=0, ge=0, le=15)


class KeyboardSpec(StickSpec):
    """Keys of the terminal that the node runs in; works over ssh."""

    kind: Literal["keyboard"] = "keyboard"
    hold_ms: int = Field(default=120, ge=40, le=1000)
    """A terminal says nothing of keys that are let go: a key counts as held for so long after each repetition."""
    first_hold_ms: int = Field(default=120, ge=40, le=1000)
    """The same after the first press; keyboards wait some 250 to 600 ms before they begin to repeat."""


SwitchSpec = Annotated[KeyboardSpec | GamepadSpec | SpaceMouseSpec | ScriptedTeleopSpec, Field(discriminator="kind")]
"""A device of which only switch, gripper and buttons are used."""


class GelloSpec(_Spec):
    """A GELLO leader arm: seven Dynamixel servos on one serial port, the last one the trigger."""

    kind: Literal["gello"] = "gello"
    port: str = Field(min_length=1)
    baud_rate: int = Field(default=57_600, ge=9600, le=4_000_000)
    joint_ids: tuple[int, int, int, int, int, int] = (1, 2, 3, 4, 5, 6)
    joint_signs: tuple[int, int, int, int, int, int] = (1, 1, -1, 1, 1, 1)
    """+1 or -1: which way a servo turns, seen from the arm's joint."""
    joint_offsets: Vector6 = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    """rad, of the servo where the arm's joint is at zero."""
    trigger_id: int | None = Field(default=7, ge=0, le=252)
    trigger_open: float = 0.0
    """rad of the trigger's servo when it is let go: gripper open."""
    trigger_closed: float = -0.7
    """rad when it is pulled: gripper closed."""
    switch: SwitchSpec = KeyboardSpec()
    """Its deadman; the leader itself has none."""


class FreedriveSpec(_Spec):
    """The arm itself, guided by hand while another device's switch is held."""

    kind: Literal["freedrive"] = "freedrive"
    switch: SwitchSpec = KeyboardSpec()


TeleopSpec = Annotated[
    ScriptedTeleopSpec | SpaceMouseSpec | GamepadSpec | KeyboardSpec | GelloSpec | FreedriveSpec,
    Field(discriminator="kind"),
]
_ADAPTER: TypeAdapter[Any] = TypeAdapter(TeleopSpec)
BY_NAME = ("spacemouse", "gamepad", "keyboard", "freedrive")
"""Kinds that need no file."""


def device_spec(description: str) -> TeleopSpec:
    """What ``description`` means: the name of a kind, or the path of a device file.

    Raises:
        ConfigError: no such kind, or the file is missing, is neither YAML nor JSON, or holds what cannot be meant.
    """
    if description in BY_NAME:
        return _validated({"kind": description}, where=f"device {description!r}")
    path = Path(description)
    if path.suffix not in {".yaml", ".yml", ".json"}:
        raise ConfigError(
            f"device {description!r} is not known; choose {', '.join(BY_NAME)}, or give the path of a device file "
            "(.yaml or .json) with its kind, as gello and scripted need"
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))  # of which JSON is a part
    except OSError as error:
        raise ConfigError(f"device file {path} cannot be read ({error.strerror})") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"device file {path} is neither YAML nor JSON: {' '.join(str(error).split())}") from error
    return _validated(content, where=f"device file {path}")


def _validated(content: Any, *, where: str) -> TeleopSpec:
    try:
        spec: TeleopSpec = _ADAPTER.validate_python(content)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in item['loc']) or 'device'}: {item['msg']} (got {item['input']!r:.80})"
            for item in error.errors()
        )
        raise ConfigError(f"{where}: {problems}") from error
    return spec
