"""The scripted expert: called ten to thirty times a second with the truth, answers with a chunk of what it means to do next.

Closed loop on two levels. A stage ends only when the measured tool has arrived and the stage's gate holds; and an attempt
starts over when the world no longer fits it (an object moved, slipped, was lost) or when the task is not done at
its end. Between calls the path is continued from the *commanded* motion, so that successive chunks join smoothly.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mola_core.contracts.clock import NS_PER_S
from mola_core.contracts.errors import ConfigError
from mola_core.contracts.geometry import pose_from_transform, transform_from_pose
from mola_core.contracts.site import Site
from mola_core.contracts.types import ActionChunk, ActionSpace, RobotState
from mola_twin.expert.fixtures import OpenDrawer, PressButton
from mola_twin.expert.home import Homing
from mola_twin.expert.noise import RecoveryNoise
from mola_twin.expert.pick_place import BottleInBin, GrabBowl, StackBlocks
from mola_twin.expert.stages import SLOW, Skill, Stage, fixed
from mola_twin.expert.tool_path import ToolPath, ToolPose, ToolState, resting, tilt_from_vertical
from mola_twin.tasks.instructions import TASKS
from mola_twin.tasks.success import PREDICATES
from mola_twin.tasks.truth import Truth

HORIZON = 16
PERIOD_NS = 50_000_000
EXECUTE_STEPS = 4
ARRIVED_M, ARRIVED_RAD = 0.004, 0.03
AT_REST = 0.01
"""m/s and rad/s of the commanded motion."""
LAG_S = 0.15
"""How long after the path's arrival the arm's own may be noticed."""
STRAYED_M = 0.12
"""The arm further than this from the path: the expert begins again from where the arm is."""
FORGOTTEN_NS = NS_PER_S
"""Called again after a longer pause than this, it begins again from where the arm is."""
UPRIGHT_RAD = 0.06
"""A tool tilted by more is first brought home in joint space, unless the caller says otherwise."""
SOURCE = "expert"

SKILLS: dict[str, type[Skill]] = {
    "bottle_in_bin": BottleInBin,
    "grab_bowl": GrabBowl,
    "stack_blocks": StackBlocks,
    "open_drawer": OpenDrawer,
    "press_button": PressButton,
}


def make_expert(
    task: str, site: Site, *, noise: RecoveryNoise | None = None, upright_rad: float = UPRIGHT_RAD
) -> "Expert":
    """The expert for ``task``; ``noise`` adds seeded mistakes for it to recover from.

    A tool tilted by more than ``upright_rad`` at the beginning is first brought home in joint space.

    Raises:
        ConfigError: there is no such task.
    """
    if task not in SKILLS:
        raise ConfigError(f"task {task!r} is not known; choose one of {', '.join(TASKS)}")
    return Expert(task=task, site=site, skill=SKILLS[task](), noise=noise or RecoveryNoise(), upright_rad=upright_rad)


class Expert:
    """One episode of one task. Not thread-safe."""

    def __init__(
        self, *, task: str, site: Site, skill: Skill, noise: RecoveryNoise, upright_rad: float = UPRIGHT_RAD
    ) -> None:
        self.task = task
        self._home_joints = np.array(site.arm.home)
        self._skill = skill
        self._noise = noise
        self._upright_rad = upright_rad
        self._sequence = 0
        self._path = ToolPath(resting(ToolPose(0.0, 0.0, 0.0, 0.0)))
        self._path_ns: int | None = None
        self._stages: Sequence[Stage] = ()
        self._index = 0
        self._entry = ToolPose(0.0, 0.0, 0.0, 0.0)
        self._arrived_ns: int | None = None
        self._homing: Homing | None = None
        self.num_attempts = 0

    @property
    def stage(self) -> str:
        """Name of the stage in progress, for logs."""
        if self._homing is not None:
            return "straighten"
        return self._stages[self._index].name if self._index < len(self._stages) else "done"

    def act(self, *, truth: Truth, state: RobotState, now_ns: int) -> ActionChunk:
        """What to do from ``now_ns`` on, resting on ``truth`` and ``state``."""
        base_from_tcp = transform_from_pose(state.base_from_tcp)
        underway = self._path_ns is not None and now_ns - self._path_ns < FORGOTTEN_NS
        if self._homing is not None or (not underway and tilt_from_vertical(base_from_tcp) > self._upright_rad):
            chunk = self._straighten(truth=truth, state=state, now_ns=now_ns)
            if chunk is not None:
                return chunk
        tool = ToolPose.from_transform(base_from_tcp)
        commanded = self._commanded(tool, now_ns=now_ns)
        if not self._stages or (not self._done and self._skill.broken(truth, self._stages[self._index])):
            self._begin(truth, commanded.pose)
        self._advance(truth=truth, state=state, tool=tool, commanded=commanded, now_ns=now_ns)
        openings = self._plan(truth, commanded, now_ns=now_ns)
        targets = [self._path.at(row * PERIOD_NS / NS_PER_S).pose for row in range(HORIZON)]
        return self._chunk(
            truth=truth,
            state=state,
            now_ns=now_ns,
            space=ActionSpace.TCP,
            targets=np.array([pose_from_transform(pose.transform) for pose in targets]),
            openings=openings,
        )

    @property
    def _done(self) -> bool:
        return bool(self._stages) and self._index >= len(self._stages)

    def _commanded(self, tool: ToolPose, *, now_ns: int) -> ToolState:
        """Where the path is now, or where the arm is when there is no path to continue."""
        if self._path_ns is None or now_ns - self._path_ns > FORGOTTEN_NS:
            self._path_ns = None
            return resting(tool)
        commanded = self._path.at((now_ns - self._path_ns) / NS_PER_S)
        if commanded.pose.distance(tool) > STRAYED_M:
            self._stages, self._path_ns = (), None
            return resting(tool)
        return commanded

    def _begin(self, truth: Truth, tool: ToolPose) -> None:
        self.num_attempts += 1
        self._stages = self._noise.disturb(self._skill.begin(truth, tool))
        self._index = 0
        self._entry = tool
        self._arrived_ns = None

    def _advance(self, *, truth: Truth, state: RobotState, tool: ToolPose, commanded: ToolState, now_ns: int) -> None:
        """Go on to the next stage when this one is over, and begin again when the last is and the task is not done."""
        if self._done:
            return
        stage = self._stages[self._index]
        target = stage.target(truth, self._entry)
        near = tool.distance(target) < ARRIVED_M and abs(tool.yaw - target.yaw) < ARRIVED_RAD
        near = near and max(map(abs, commanded.velocity)) < AT_REST
        if not near and self._arrived_ns is None:
            return
        if self._arrived_ns is None:
            self._arrived_ns = now_ns
        stayed_s = (now_ns - self._arrived_ns) / NS_PER_S
        ready = stage.gate is None or stage.gate(truth, state) or stayed_s > stage.patience_s
        if stayed_s < stage.dwell_s or not ready:
            return
        self._index += 1
        self._entry = target
        self._arrived_ns = None
        if self._index == len(self._stages) and not PREDICATES[self.task].judge(truth).met:
            self._begin(truth, target)

    def _plan(self, truth: Truth, commanded: ToolState, *, now_ns: int) -> np.ndarray:
        """Lay the path through this and the coming stages; the openings asked for at each row."""
        entry, arrived = self._entry, self._arrived_ns is not None
        waited_s = (now_ns - self._arrived_ns) / NS_PER_S if self._arrived_ns is not None else 0.0
        stages = self._stages[self._index :] or [replace(self._stages[-1], target=fixed(entry), speed=SLOW)]
        path = self._path_to(stages[0].target(truth, entry), commanded, now_ns=now_ns)
        changes: list[tuple[float, float]] = []
        for stage in stages:
            changes.append((path.duration_s if changes else 0.0, stage.opening))
            entry = stage.target(truth, entry)
            if len(changes) > 1 or not path.leads_somewhere:
                path.move_to(entry, speed=stage.speed)
            path.wait(max(stage.dwell_s - waited_s, 0.02) if arrived else max(stage.dwell_s, LAG_S))
            arrived = False
            if path.duration_s > HORIZON * PERIOD_NS / NS_PER_S:
                break
        self._path, self._path_ns = path, now_ns
        rows = np.arange(HORIZON) * PERIOD_NS / NS_PER_S
        starts = np.array([start for start, _ in changes])
        return np.array([changes[int(np.searchsorted(starts, row, side="right")) - 1][1] for row in rows])

    def _path_to(self, goal: ToolPose, commanded: ToolState, *, now_ns: int) -> ToolPath:
        """The beginning of a path from the commanded state, on the leg in progress if that still leads to ``goal``."""
        if self._path_ns is None:
            return ToolPath(commanded)
        return self._path.continued((now_ns - self._path_ns) / NS_PER_S, start=commanded, goal=goal)

    def _straighten(self, *, truth: Truth, state: RobotState, now_ns: int) -> ActionChunk | None:
        """Home in joint space; None once the arm is there."""
        if self._homing is None:
            self._homing = Homing.begin(start=state.joint_positions, goal=self._home_joints, now_ns=now_ns)
        if self._homing.arrived(state.joint_positions, now_ns=now_ns):
            self._homing = self._path_ns = None
            self._stages = ()
            return None
        return self._chunk(
            truth=truth,
            state=state,
            now_ns=now_ns,
            space=ActionSpace.JOINT,
            targets=self._homing.targets(now_ns=now_ns, horizon=HORIZON, period_ns=PERIOD_NS),
            openings=np.full(HORIZON, 1.0),
        )

    def _chunk(
        self,
        *,
        truth: Truth,
        state: RobotState,
        now_ns: int,
        space: ActionSpace,
        targets: np.ndarray,
        openings: np.ndarray,
    ) -> ActionChunk:
        self._sequence += 1
        stamp_ns = min(truth.stamp_ns, state.stamp_ns)
        return ActionChunk(
            sequence=self._sequence,
            source=SOURCE,
            bundle_id="",
            stamp_ns=stamp_ns,
            alive_stamp_ns=stamp_ns,
            start_ns=now_ns,
            period_ns=PERIOD_NS,
            space=space,
            targets=targets,
            gripper_openings=openings,
            execute_steps=EXECUTE_STEPS,
            final=self._done and self._homing is None,
        )
