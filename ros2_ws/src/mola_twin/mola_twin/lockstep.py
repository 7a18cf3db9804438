"""The whole rig in one process and one thread, as fast as it will go: cell, arm model and the real servo path on a fake clock.

What differs from the real-time twin is only who calls whom: the servo core's tick, the controller's joint model and the cell's
physics are the same objects. No sockets, no threads, no wall time: the same seed and the same actions give the same
episode, bit for bit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np

from mola_core.contracts.clock import NS_PER_S, FakeClock
from mola_core.contracts.errors import ConfigError
from mola_core.contracts.geometry import pose_from_transform
from mola_core.contracts.site import RobotiqGripperSpec, Site
from mola_core.contracts.types import ActionChunk, CommandedState, Frame, RobotState, StampDomain
from mola_core.control.kinematics import forward_kinematics
from mola_core.control.servo_core import ServoCore
from mola_core.control.servo_types import ServoState
from mola_core.control.validation import prepare_chunk
from mola_twin.cell import optics
from mola_twin.cell.model import TIMESTEP_S
from mola_twin.cell.physics import ArmCommand, PhysicsCell
from mola_twin.controller.robot import Robot, RobotConfig
from mola_twin.tasks.start import SceneStart, sample_start
from mola_twin.tasks.success import Success
from mola_twin.tasks.truth import Truth

if TYPE_CHECKING:
    from mola_twin.cell.renderer import CellRenderer

TICK_NS = round(TIMESTEP_S * NS_PER_S)


@dataclass(frozen=True)
class RigObservation:
    """What the rig shows at one instant."""

    state: RobotState
    frames: dict[str, Frame]
    """By camera name; empty unless rendering was asked for."""
    truth: Truth


class LockstepRig:
    """One twin that moves only when told to. Close it (or use ``with``) when it has rendered."""

    def __init__(self, site: Site) -> None:
        period_ns = round(NS_PER_S / site.arm.servo.frequency_hz)
        if period_ns != TICK_NS:
            raise ConfigError(
                f"lockstep runs the servo at {NS_PER_S / TICK_NS:.0f} Hz, the site asks for {site.arm.servo.frequency_hz}; "
                "set arm.servo.frequency_hz to 500"
            )
        if not isinstance(site.gripper, RobotiqGripperSpec):
            raise ConfigError(f"the twin carries a robotiq_2f gripper, the site says {site.gripper.kind!r}")
        self.site = site
        self._gripper_spec = site.gripper
        self.clock = FakeClock(start_ns=NS_PER_S)
        self.cell = PhysicsCell()
        self._renderers: dict[tuple[int, int], CellRenderer] = {}
        self._sequence = 0
        self.start: SceneStart = self.cell.start
        self._seat(np.array(site.arm.home))
        self.on_tick: Callable[[LockstepRig], None] | None = None
        """Called after every tick, for recorders and tests."""

    def _seat(self, joints: np.ndarray) -> None:
        """A fresh robot and a fresh, engaged servo with the arm at ``joints``."""
        self.robot = Robot(RobotConfig(initial_positions=tuple(float(value) for value in joints)))
        self.servo = ServoCore(self.site)
        self.servo.resume()
        self._commanded = joints
        self._chunk: ActionChunk | None = None
        self.stop_reason = ""
        """What the servo last said of itself; empty while it follows a plan unhindered."""
        self._gripper_target = 1.0
        self._gripper_due_ns = 0

    def reset(self, *, task: str, seed: int, variant: str = "id", arm_jitter_rad: float = 0.0) -> SceneStart:
        """Begin the episode (task, seed, variant): objects in place, gripper open, arm at home, servo engaged.

        ``arm_jitter_rad`` is the standard deviation of a seeded offset of each joint from home.

        Raises:
            ConfigError: unknown task or variant, or a negative seed.
        """
        start = sample_start(task=task, seed=seed, variant=variant)
        jitter = np.random.default_rng([seed, 0]).normal(scale=1.0, size=6) * arm_jitter_rad
        joints = np.array(self.site.arm.home) + jitter
        self.cell.reset(start, arm_joints=joints)
        self._seat(joints)
        self.start = start
        return start

    def state(self) -> RobotState:
        """Proprioception now."""
        positions = np.array(self.robot.joints.positions)
        base_from_tcp = forward_kinematics(positions, self.site.arm.tcp_offset)
        return RobotState(
            stamp_ns=self.clock.now_ns(),
            joint_positions=positions,
            joint_velocities=np.array(self.robot.joints.velocities),
            base_from_tcp=pose_from_transform(base_from_tcp),
            gripper_opening=self.cell.state().gripper_opening,
            robot_mode=self.robot.robot_mode,
            safety_mode=self.robot.safety_mode,
            speed_scaling=self.robot.speed_scaling,
        )

    def commanded(self) -> CommandedState:
        """What the servo asks of arm and gripper now."""
        chunk = self._chunk
        return CommandedState(
            stamp_ns=self.clock.now_ns(),
            joint_positions=self._commanded.copy(),
            base_from_tcp=pose_from_transform(forward_kinematics(self._commanded, self.site.arm.tcp_offset)),
            gripper_opening=self._gripper_target,
            source="" if chunk is None else chunk.source,
            chunk_sequence=0 if chunk is None else chunk.sequence,
            bundle_id="" if chunk is None else chunk.bundle_id,
        )

    def truth(self) -> Truth:
        """What the simulator knows now."""
        return self.cell.truth(stamp_ns=self.clock.now_ns())

    def observe(
        self, *, render: bool = False, width: int = 128, height: int = 128, depth: bool = False
    ) -> RigObservation:
        """State and truth now, and with ``render`` both cameras.

        Frames are the centred crop, with the asked aspect, of the site's stream of each camera, resized: what the live
        preprocessing makes of it.
        """
        frames = {}
        if render:
            self._sequence += 1
            frames = {name: self.frame(name, width=width, height=height, depth=depth) for name in self.site.cameras}
        return RigObservation(state=self.state(), frames=frames, truth=self.truth())

    def frame(self, name: str, *, width: int, height: int, depth: bool = False) -> Frame:
        """What the camera called ``name`` sees now; see :meth:`observe`."""
        stream = self.site.cameras[name]
        full = optics.intrinsics(model=stream.model, width=stream.width, height=stream.height)
        view = optics.centre_crop(full, width=width, height=height)
        color, metres = self._renderer(width, height).render(
            self.cell.model, self.cell.data, camera=name, intrinsics=view, depth=depth
        )
        now_ns = self.clock.now_ns()
        return Frame(
            stamp_ns=now_ns,
            stamp_domain=StampDomain.HOST_EPOCH,
            received_ns=now_ns,
            sequence=self._sequence,
            color=color,
            depth=None if metres is None else optics.depth_millimetres(metres, model=stream.model, width=stream.width),
        )

    def _renderer(self, width: int, height: int) -> "CellRenderer":
        if (width, height) not in self._renderers:
            from mola_twin.cell.renderer import CellRenderer  # noqa: PLC0415  # needs OpenGL, which a rig without images does not

            self._renderers[width, height] = CellRenderer(self.cell.model, width=width, height=height)
        return self._renderers[width, height]

    def step(self, chunk: ActionChunk | None, *, duration_s: float) -> None:
        """Hand ``chunk`` to the servo path and let ``duration_s`` of simulated time pass.

        Raises:
            ChunkRejectedError: the chunk did not pass the door; no time has passed.
        """
        if chunk is not None:
            now_ns = self.clock.now_ns()
            self.servo.offer(prepare_chunk(chunk, site=self.site, now_ns=now_ns, commanded=self._commanded))
            self._chunk = chunk
        for _ in range(round(duration_s * NS_PER_S / TICK_NS)):
            self._tick()

    def _tick(self) -> None:
        now_ns = self.clock.now_ns()
        command = self.servo.tick(now_ns, self._measured())
        self._commanded = command.joint_target
        self.stop_reason = command.reason
        servo = self.site.arm.servo
        if not self.robot.stopped_by_safety:
            self.robot.joints.servo(command.joint_target.tolist(), lookahead_s=servo.lookahead_s, gain=servo.gain)
        self.robot.step(TIMESTEP_S)
        if command.gripper_target is not None and now_ns >= self._gripper_due_ns:
            # the gripper's own thread polls its socket at this rate
            self._gripper_target = command.gripper_target
            self._gripper_due_ns = now_ns + round(NS_PER_S / self._gripper_spec.rate_hz)
        joints = self.robot.joints
        self.cell.step(
            ArmCommand(
                joint_positions=np.array(joints.positions),
                joint_velocities=np.array(joints.velocities),
                gripper_target=self._gripper_target,
                gripper_speed=self._gripper_spec.speed,
                gripper_force=self._gripper_spec.force,
            )
        )
        self.robot.contact_force = self.cell.contact_force()
        self.clock.advance(TICK_NS)
        if self.on_tick is not None:
            self.on_tick(self)

    def _measured(self) -> "_Reading":
        return _Reading(np.array(self.robot.joints.positions), self.robot)

    @property
    def engaged(self) -> bool:
        """Whether the servo still follows chunks (it stops on a collision or a stale plan)."""
        return self.servo.state in (ServoState.HOLDING, ServoState.EXECUTING)

    def success(self) -> Success:
        """The newest verdict on the task."""
        return self.cell.success()

    def close(self) -> None:
        """Release the renderers; safe to call twice."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Reading:
    """What a tick needs to know of the arm."""

    __slots__ = ("joint_positions", "robot_mode", "safety_mode")

    def __init__(self, joint_positions: np.ndarray, robot: Robot) -> None:
        self.joint_positions = joint_positions
        self.robot_mode = robot.robot_mode
        self.safety_mode = robot.safety_mode
