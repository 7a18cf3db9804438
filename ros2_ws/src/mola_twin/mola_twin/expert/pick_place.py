"""Taking the bottle, the bowl and the blocks, and putting them where the task wants them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mola_core.contracts.types import RobotState
from mola_twin.cell import layout
from mola_twin.expert.clearance import Grasp, choose, obstacles, wrap_quarter
from mola_twin.expert.home import home_pose
from mola_twin.expert.stages import SLOW, Gate, Stage, Target, approach, fixed, rise_to
from mola_twin.expert.tool_path import ToolPose
from mola_twin.tasks.truth import Truth

TRAVEL_Z = 0.22
"""High enough to carry a block or empty fingers over everything."""
BOTTLE_TRAVEL_Z = 0.30
"""High enough to carry the bottle over the bin and over blocks."""
MOVED_M = 0.008
"""An object that moved by more before it is in the hand is reached for anew."""
DROPPED_M = 0.035
"""An object further than this from where it was held has been lost."""
BLOCK_ROOM_M = 0.004
"""More room than that beside the fingers does not decide how a block is taken."""
BOWL_SIDE = (0.0, -1.0)
"""The bowl is taken on this side (base frame) where there is room: the wrist camera then looks across it."""


def wanted_in_hand(truth: Truth) -> str | None:
    """The object that the task is done with; a skill carries on with it where it is held already."""
    return {"bottle_in_bin": "bottle", "grab_bowl": "bowl", "stack_blocks": truth.stack_top}.get(truth.task)


def held(name: str) -> Gate:
    """Both fingers touch ``name``."""
    return lambda truth, _state: truth.objects[name].held


def opened(opening: float) -> Gate:
    """The fingers have opened to ``opening``."""

    def gate(truth: Truth, _state: RobotState) -> bool:
        return truth.gripper_opening > opening - 0.05

    return gate


@dataclass
class Reach:
    """What an attempt set out to take, to notice when it moves or is lost."""

    name: str
    position: np.ndarray
    grasp: Grasp
    in_hand: bool = False
    """Someone else has already taken it; ``grasp`` is where the tool is then."""

    @classmethod
    def again(cls, truth: Truth, name: str, tool: ToolPose) -> "Reach | None":
        """Go on with ``name`` as it is held, or None if it is not."""
        item = truth.objects[name]
        return cls(name, item.position.copy(), Grasp(tool, 0.0), in_hand=True) if item.held else None

    def missed(self, truth: Truth, stage: Stage) -> bool:
        """Whether the object moved before it was taken, or is no longer in the hand while it should be."""
        item = truth.objects[self.name]
        if stage.name in {"above", "descend"}:
            return float(np.linalg.norm(item.position - self.position)) > MOVED_M
        if stage.carries == self.name:
            expected = truth.base_from_tcp[:3, 3] + self.position - np.array(self._grasp_position)
            return not item.handled and float(np.linalg.norm(item.position - expected)) > DROPPED_M
        return False

    @property
    def _grasp_position(self) -> tuple[float, float, float]:
        return self.grasp.pose.x, self.grasp.pose.y, self.grasp.pose.z

    def take(self, tool: ToolPose, *, lift_z: float, hover_z: float) -> list[Stage]:
        """Stages from wherever the tool is to holding the object at ``lift_z``."""
        grasp = self.grasp
        lift = Stage("lift", rise_to(lift_z), 0.0, carries=self.name)
        if self.in_hand:
            return [lift]
        return [
            *approach(grasp.pose.at_height(hover_z), opening=grasp.opening, tool=tool),
            Stage("descend", fixed(grasp.pose), grasp.opening, speed=SLOW),
            Stage("close", fixed(grasp.pose), 0.0, dwell_s=0.35, gate=held(self.name), patience_s=1.0),
            lift,
        ]


def _toward(truth: Truth, name: str, *, over: tuple[float, float], z: float) -> Target:
    """Bring object ``name`` (not the tool) over a place, whatever its offset in the hand."""

    def target(now: Truth, entry: ToolPose) -> ToolPose:
        item = now.objects[name]
        tool = now.base_from_tcp[:3, 3]
        offset = item.position[:2] - tool[:2] if item.held else np.zeros(2)
        return ToolPose(over[0] - float(offset[0]), over[1] - float(offset[1]), z, entry.yaw)

    del truth
    return target


def let_go(*, up_z: float, opening: float = 0.8) -> list[Stage]:
    """Open, go straight up, go home."""
    return [
        Stage("open", lambda _truth, entry: entry, opening, dwell_s=0.25, gate=opened(opening), patience_s=1.0),
        Stage("up", rise_to(up_z), opening),
        Stage("home", fixed(home_pose()), 1.0),
    ]


class BottleInBin:
    """Take the bottle by its neck, let it stand in the bin."""

    def begin(self, truth: Truth, tool: ToolPose) -> Sequence[Stage]:
        """See :class:`mola_twin.expert.stages.Skill`."""
        bottle, target = truth.objects["bottle"], truth.objects["bin"]
        x, y, z = (float(value) for value in bottle.position)
        grip_z = z + layout.BOTTLE_BODY + 0.024
        candidates = [Grasp(ToolPose(x, y, grip_z, yaw), 0.8) for yaw in np.linspace(-np.pi / 2, np.pi / 2, 13)[1:]]
        self._reach = Reach.again(truth, "bottle", tool) or Reach(
            "bottle", bottle.position.copy(), choose(candidates, obstacles(truth, ignore=("bottle",)))
        )
        above_foot = self._reach.grasp.pose.z - z
        over = (float(target.position[0]), float(target.position[1]))
        return [
            *self._reach.take(tool, lift_z=BOTTLE_TRAVEL_Z, hover_z=TRAVEL_Z),
            Stage("carry", _toward(truth, "bottle", over=over, z=BOTTLE_TRAVEL_Z), 0.0, carries="bottle"),
            Stage("lower", rise_to(above_foot + 0.02), 0.0, speed=SLOW * 1.5, carries="bottle"),
            *let_go(up_z=BOTTLE_TRAVEL_Z),
        ]

    def broken(self, truth: Truth, stage: Stage) -> bool:
        """See :class:`mola_twin.expert.stages.Skill`."""
        return self._reach.missed(truth, stage)


class GrabBowl:
    """Pinch the bowl's rim where there is room, and lift it."""

    def begin(self, truth: Truth, tool: ToolPose) -> Sequence[Stage]:
        """See :class:`mola_twin.expert.stages.Skill`."""
        bowl = truth.objects["bowl"]
        x, y, z = (float(value) for value in bowl.position)
        radius = layout.BOWL_RADIUS - layout.BOWL_WALL / 2
        candidates = []
        for stave in range(16):
            # in the middle of a stave the wall is square to the fingers
            angle = bowl.yaw + 2 * np.pi * (stave + 0.5) / 16
            pose = ToolPose(
                x + radius * float(np.cos(angle)),
                y + radius * float(np.sin(angle)),
                z + 0.022,
                wrap_quarter(angle - np.pi / 2),
            )
            candidates.append(Grasp(pose, 0.45))
        self._reach = Reach.again(truth, "bowl", tool) or Reach(
            "bowl", bowl.position.copy(), choose(candidates, obstacles(truth, ignore=("bowl",)), lean=BOWL_SIDE)
        )
        return [
            *self._reach.take(tool, lift_z=TRAVEL_Z, hover_z=0.16),
            Stage("home", fixed(home_pose()), 0.0, carries="bowl", dwell_s=0.5),
        ]

    def broken(self, truth: Truth, stage: Stage) -> bool:
        """See :class:`mola_twin.expert.stages.Skill`."""
        return self._reach.missed(truth, stage)


class StackBlocks:
    """Put the named block on the other named one.

    A block can be taken by either pair of its sides. The pair that needs less turning from where the tool is now is taken wherever the
    fingers have room: that shows in the wrist's picture, and who begins to turn there has decided. (By the turn from home, a policy
    that imitated it wavered over blocks at 45 degrees, and who took over from it there could be turning either way.)
    """

    def begin(self, truth: Truth, tool: ToolPose) -> Sequence[Stage]:
        """See :class:`mola_twin.expert.stages.Skill`."""
        top, bottom = truth.objects[truth.stack_top], truth.objects[truth.stack_bottom]
        x, y, z = (float(value) for value in top.position)
        over = (float(bottom.position[0]), float(bottom.position[1]))
        rest_z = float(bottom.position[2]) + 2 * layout.BLOCK_HALF + 0.003
        grip_z = max(z - 0.006, 0.012)
        candidates = [
            Grasp(ToolPose(x, y, grip_z, wrap_quarter(top.yaw + quarter * np.pi / 2)), 0.85) for quarter in (0, 1)
        ]
        things = obstacles(truth, ignore=(truth.stack_top, truth.stack_bottom))
        place = ToolPose(*over, rest_z + grip_z - z, 0.0)
        self._reach = Reach.again(truth, truth.stack_top, tool) or Reach(
            truth.stack_top,
            top.position.copy(),
            choose(candidates, things, places=[place], turned=tool.yaw, enough_m=BLOCK_ROOM_M),
        )
        place_z = rest_z + self._reach.grasp.pose.z - z
        name = truth.stack_top
        return [
            *self._reach.take(tool, lift_z=TRAVEL_Z, hover_z=0.14),
            Stage("carry", _toward(truth, name, over=over, z=TRAVEL_Z), 0.0, carries=name),
            Stage("lower", _toward(truth, name, over=over, z=place_z), 0.0, speed=SLOW, carries=name, dwell_s=0.15),
            *let_go(up_z=TRAVEL_Z),
        ]

    def broken(self, truth: Truth, stage: Stage) -> bool:
        """See :class:`mola_twin.expert.stages.Skill`."""
        return self._reach.missed(truth, stage)
