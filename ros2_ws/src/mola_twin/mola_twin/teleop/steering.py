"""The scripted expert as somebody who holds a stick: the same stages, approached by velocity instead of along a timed path."""

from collections.abc import Sequence

import numpy as np

from mola_core.contracts.clock import NS_PER_S
from mola_core.contracts.geometry import rotvec_from_rotation
from mola_core.contracts.teleop import Twist, TwistFrame
from mola_core.contracts.types import RobotMode, RobotState, SafetyMode
from mola_twin.expert.expert import ARRIVED_M, ARRIVED_RAD, SKILLS
from mola_twin.expert.home import home_pose
from mola_twin.expert.stages import Stage
from mola_twin.expert.tool_path import ToolPose
from mola_twin.tasks.success import PREDICATES
from mola_twin.tasks.truth import Truth

GAIN = 2.5
"""1/s: how hurriedly a distance is closed; the loop of seeing, steering and moving takes about 0.2 s."""
FASTEST_M_S, FASTEST_RAD_S = 0.4, 1.2
HOME_M = 0.02
SETTLED_M_S = 0.02
"""A tool this slow has arrived."""


class Steering:
    """One episode of one task."""

    def __init__(self, task: str) -> None:
        self.task = task
        self._skill = SKILLS[task]()
        self._stages: Sequence[Stage] = ()
        self._index = 0
        self._entry = ToolPose(0.0, 0.0, 0.0, 0.0)
        self._arrived_ns: int | None = None
        self._before: tuple[int, ToolPose] | None = None

    @property
    def stage(self) -> str:
        """Name of the stage in progress."""
        return self._stages[self._index].name if self._index < len(self._stages) else "done"

    def steer(self, truth: Truth) -> tuple[Twist, float]:
        """Which way to push, and how far the gripper shall be open."""
        tool = ToolPose.from_transform(truth.base_from_tcp)
        if not self._stages or (not self._done and self._skill.broken(truth, self._stages[self._index])):
            self._begin(truth, tool)
        self._advance(truth, tool)
        stage = self._stages[min(self._index, len(self._stages) - 1)]
        target = self._entry if self._done else stage.target(truth, self._entry)
        return Twist(_towards(truth, target, speed=min(stage.speed, FASTEST_M_S)), TwistFrame.BASE), stage.opening

    @property
    def _done(self) -> bool:
        return self._index >= len(self._stages)

    def _begin(self, truth: Truth, tool: ToolPose) -> None:
        self._stages, self._index, self._entry = self._skill.begin(truth, tool), 0, tool
        self._arrived_ns = None

    def _advance(self, truth: Truth, tool: ToolPose) -> None:
        speed = self._speed(truth.stamp_ns, tool)
        if self._done:
            return
        stage = self._stages[self._index]
        target = stage.target(truth, self._entry)
        near = tool.distance(target) < ARRIVED_M and abs(tool.yaw - target.yaw) < ARRIVED_RAD and speed < SETTLED_M_S
        if self._arrived_ns is None and near:
            self._arrived_ns = truth.stamp_ns
        if self._arrived_ns is None:
            return
        stayed_s = (truth.stamp_ns - self._arrived_ns) / NS_PER_S
        ready = stage.gate is None or stage.gate(truth, _state(truth)) or stayed_s > stage.patience_s
        if stayed_s < stage.dwell_s or not ready:
            return
        self._index, self._entry, self._arrived_ns = self._index + 1, target, None
        if self._index == len(self._stages) and not PREDICATES[self.task].judge(truth).met:
            self._begin(truth, target)

    def _speed(self, stamp_ns: int, tool: ToolPose) -> float:
        before, self._before = self._before, (stamp_ns, tool)
        if before is None or stamp_ns <= before[0]:
            return 0.0
        return tool.distance(before[1]) * NS_PER_S / (stamp_ns - before[0])


def homeward(truth: Truth) -> Twist | None:
    """Which way to push to get home: up first, then over; None once the tool is there."""
    home, tool = home_pose(), ToolPose.from_transform(truth.base_from_tcp)
    aside = float(np.hypot(tool.x - home.x, tool.y - home.y))
    if tool.distance(home) < HOME_M:
        return None
    target = tool.at_height(home.z) if aside > HOME_M and tool.z < home.z - HOME_M else home
    return Twist(_towards(truth, target, speed=FASTEST_M_S), TwistFrame.BASE)


def _towards(truth: Truth, target: ToolPose, *, speed: float) -> np.ndarray:
    """Twist in the base's axes that closes the distance and straightens the tool."""
    goal = target.transform
    shift = goal[:3, 3] - truth.base_from_tcp[:3, 3]
    turn = rotvec_from_rotation(goal[:3, :3] @ truth.base_from_tcp[:3, :3].T)
    return np.concatenate([_bounded(GAIN * shift, speed), _bounded(GAIN * turn, FASTEST_RAD_S)])


def _bounded(velocity: np.ndarray, limit: float) -> np.ndarray:
    length = float(np.linalg.norm(velocity))
    return velocity if length <= limit else velocity * (limit / length)


def _state(truth: Truth) -> RobotState:
    """What gates may ask of the arm, of one who only looks."""
    return RobotState(
        stamp_ns=truth.stamp_ns,
        joint_positions=np.full(6, np.nan),
        joint_velocities=np.full(6, np.nan),
        base_from_tcp=np.full(6, np.nan),
        gripper_opening=truth.gripper_opening,
        robot_mode=RobotMode.RUNNING,
        safety_mode=SafetyMode.NORMAL,
        speed_scaling=1.0,
    )
