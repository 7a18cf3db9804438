"""A site: everything that is true of one physical set-up and of no other, in one YAML file.

Addresses, serial numbers and calibration have no defaults. Unknown keys, missing keys and values out of range are
refused with the key, the value and the range. ``launch/sites/`` holds the twin's site and a commented template.
"""

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from mola_core.contracts.errors import ConfigError
from mola_core.contracts.geometry import Transform, transform_from_pose

Vector3 = tuple[float, float, float]
Vector6 = tuple[float, float, float, float, float, float]
Positive = Annotated[float, Field(gt=0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ServoSpec(_Section):
    """How the 500 Hz stream talks to the controller."""

    frequency_hz: float = Field(default=500.0, ge=100, le=500)
    lookahead_s: float = Field(default=0.05, ge=0.03, le=0.2)
    """servoJ's lookahead_time; smaller is stiffer and noisier."""
    gain: float = Field(default=1000.0, ge=100, le=2000)
    """servoJ's proportional gain."""
    arm_delay_s: float = Field(default=0.05, ge=0.0, le=0.3)
    """Measured lag from target to motion; the reference is read this far ahead of now."""
    watchdog_hz: float = Field(default=20.0, ge=10, le=125)
    """The controller stops the program itself when nothing was written for one such period."""
    realtime_priority: int = Field(default=0, ge=0, le=90)
    """SCHED_FIFO priority of the servo process; 0 leaves the default scheduling. Needs CAP_SYS_NICE or an rtprio limit."""


class ArmSpec(_Section):
    """The arm and what it may do. Limits bind every command, whoever asks."""

    host: str = Field(min_length=1)
    """IP address or host name of the UR controller."""
    home: Vector6
    """Joint positions, rad: where episodes start."""
    position_min: Vector6 = (-6.2, -6.2, -3.1, -6.2, -6.2, -6.2)
    position_max: Vector6 = (6.2, 6.2, 3.1, 6.2, 6.2, 6.2)
    velocity_max: Vector6 = (2.0, 2.0, 2.0, 2.5, 2.5, 2.5)
    acceleration_max: Vector6 = (8.0, 8.0, 8.0, 10.0, 10.0, 10.0)
    jerk_max: Vector6 = (150.0, 150.0, 150.0, 200.0, 200.0, 200.0)
    """rad, rad/s, rad/s^2, rad/s^3."""
    engage_delta: Positive = 0.25
    """Largest joint distance, rad, from the commanded position to the first target of a chunk that starts motion."""
    tcp_offset: Vector6
    """tool flange -> TCP: m and rotation vector in rad."""
    payload_kg: float = Field(ge=0, le=5)
    payload_cog: Vector3 = (0.0, 0.0, 0.0)
    """Centre of gravity in the flange frame, m."""
    servo: ServoSpec = ServoSpec()

    @model_validator(mode="after")
    def _limits_are_consistent(self) -> "ArmSpec":
        for joint, (low, home, high) in enumerate(zip(self.position_min, self.home, self.position_max, strict=True)):
            if not low < high:
                raise ValueError(f"position_min[{joint}]={low} is not below position_max[{joint}]={high}")
            if not low <= home <= high:
                raise ValueError(f"home[{joint}]={home} is outside [{low}, {high}]")
        for name in ("velocity_max", "acceleration_max", "jerk_max"):
            values = getattr(self, name)
            if min(values) <= 0:
                raise ValueError(f"{name} must be positive everywhere, got {values}")
        return self


class WorkspaceSpec(_Section):
    """Where the TCP may be, in the base frame, and the table that no part of arm or gripper may touch."""

    tcp_min: Vector3
    tcp_max: Vector3
    table_z: float
    """Height of the table's surface in the base frame, m."""
    table_clearance: float = Field(default=0.005, ge=0, le=0.2)
    """Smallest distance between the table and any part of arm or gripper, m."""
    self_clearance: float = Field(default=0.02, ge=0, le=0.2)

    @model_validator(mode="after")
    def _box_is_not_empty(self) -> "WorkspaceSpec":
        for axis, low, high in zip("xyz", self.tcp_min, self.tcp_max, strict=True):
            if not low < high:
                raise ValueError(f"tcp_min {axis}={low} is not below tcp_max {axis}={high}")
        return self


class NoGripperSpec(_Section):
    kind: Literal["none"]


class RobotiqGripperSpec(_Section):
    """Robotiq 2F on the URCap's socket."""

    kind: Literal["robotiq_2f"]
    host: str = Field(min_length=1)
    port: int = Field(default=63352, ge=1, le=65535)
    speed: float = Field(default=1.0, gt=0, le=1)
    force: float = Field(default=0.3, ge=0, le=1)
    rate_hz: float = Field(default=30.0, ge=5, le=60)


class DigitalGripperSpec(_Section):
    """A gripper on one digital output: open or closed, nothing between."""

    kind: Literal["digital"]
    host: str = Field(min_length=1)
    output: int = Field(ge=0, le=7)
    """Standard digital output; high closes."""
    travel_s: float = Field(default=0.5, gt=0, le=5)


GripperSpec = Annotated[NoGripperSpec | RobotiqGripperSpec | DigitalGripperSpec, Field(discriminator="kind")]


class CameraStreamSpec(_Section):
    """What every camera has, whatever delivers its frames."""

    model: Literal["D455", "D405"]
    width: int = Field(ge=64, le=1280)
    height: int = Field(ge=48, le=800)
    fps: int = Field(ge=5, le=90)
    depth: bool = True
    exposure_us: int | None = Field(default=None, ge=1, le=165_000)
    """Colour exposure; None leaves the automatic, which a policy should not be trained on."""
    white_balance_k: int | None = Field(default=None, ge=2800, le=6500)
    base_from_camera: Vector6 | None = None
    """Pose of the colour optical frame for a fixed camera."""
    tcp_from_camera: Vector6 | None = None
    """Pose of the colour optical frame for a camera carried by the arm."""
    frame_timeout_ms: int = Field(default=150, ge=20, le=5000)
    """Without a frame for so long, the camera counts as lost and is reconnected."""

    @model_validator(mode="after")
    def _exactly_one_mount(self) -> "CameraStreamSpec":
        if (self.base_from_camera is None) == (self.tcp_from_camera is None):
            raise ValueError("give exactly one of base_from_camera (fixed) and tcp_from_camera (on the arm)")
        return self

    @property
    def parent_from_camera(self) -> Transform:
        """Mounting transform, from the base or the TCP frame."""
        pose = self.base_from_camera if self.base_from_camera is not None else self.tcp_from_camera
        return transform_from_pose(np.array(pose))


class RealsenseCameraSpec(CameraStreamSpec):
    source: Literal["realsense"]
    serial: str = Field(min_length=1)


class RecordedCameraSpec(CameraStreamSpec):
    """A file recorded by librealsense, played through the same pipeline."""

    source: Literal["recorded"]
    path: Path
    repeat: bool = False


class TwinCameraSpec(CameraStreamSpec):
    source: Literal["twin"]
    host: str = Field(min_length=1)
    port: int = Field(default=30150, ge=1, le=65535)


CameraSpec = Annotated[RealsenseCameraSpec | RecordedCameraSpec | TwinCameraSpec, Field(discriminator="source")]


class SafetySpec(_Section):
    """When the arm stops by itself."""

    stale_ms: int = Field(default=150, ge=20, le=2000)
    """Motion continues only on inputs younger than this; then brake, hold, and wait for the operator."""
    max_observation_age_ms: int = Field(default=1500, ge=20, le=5000)
    """A chunk whose plan rests on inputs older than this is refused: no plan is followed for longer. A policy needs what the rows
    that it executes take, and inference (:mod:`mola_core.contracts.plan_age`); whether it still sees, ``stale_ms`` asks."""
    heartbeat_ms: int = Field(default=95, ge=20, le=1000)
    """Silence of the controller node or the lifecycle manager after which the servo process brakes."""
    divergence_slow: float | None = Field(default=None, gt=0)
    """Relative distance of imagined from seen features beyond which a learned policy's plan runs at half speed; None: never."""
    divergence_stop: float | None = Field(default=None, gt=0)
    """The distance beyond which, twice in a row, a learned policy's run ends; None: never."""

    @model_validator(mode="after")
    def _slows_before_it_stops(self) -> "SafetySpec":
        if self.divergence_slow and self.divergence_stop and self.divergence_slow > self.divergence_stop:
            raise ValueError(
                f"divergence_slow={self.divergence_slow} is above divergence_stop={self.divergence_stop}; it must come first"
            )
        return self


class Site(_Section):
    """One physical (or simulated) set-up."""

    name: str = Field(min_length=1)
    arm: ArmSpec
    workspace: WorkspaceSpec
    gripper: GripperSpec
    cameras: dict[str, CameraSpec]
    """By role: ``third_person`` and ``wrist``."""
    safety: SafetySpec = SafetySpec()

    @field_validator("cameras")
    @classmethod
    def _names_are_topic_names(cls, cameras: dict[str, CameraSpec]) -> dict[str, CameraSpec]:
        for name in cameras:
            if not (name.isidentifier() and name.islower()):
                raise ValueError(
                    f"camera name {name!r} must be a lower-case identifier; it becomes part of topic names"
                )
        return cameras


def load_site(path: Path) -> Site:
    """Read and check a site file.

    Raises:
        ConfigError: the file is missing, not YAML, or holds a wrong, missing or unknown value; all of them are named.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"site file {path} cannot be read ({error.strerror}); copy launch/sites/template.yaml and fill it in"
        ) from error
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"site file {path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"site file {path} must hold a mapping of sections, got {type(content).__name__}")
    try:
        return Site.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in item['loc']) or 'site'}: {item['msg']} (got {item['input']!r:.80})"
            for item in error.errors()
        )
        raise ConfigError(f"site file {path}: {problems}") from error
