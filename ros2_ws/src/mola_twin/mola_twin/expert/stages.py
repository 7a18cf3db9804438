"""The words in which a skill is written: stages, each a place to go to, an opening, and when it is over."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from mola_core.contracts.types import RobotState
from mola_twin.expert.tool_path import ToolPose
from mola_twin.tasks.truth import Truth

FAST, SLOW = 0.45, 0.20
"""m/s: through the air, and near things."""

Gate = Callable[[Truth, RobotState], bool]
Target = Callable[[Truth, ToolPose], ToolPose]
"""Where to go, given the truth and where the previous stage ended."""


@dataclass(frozen=True)
class Stage:
    """One leg and what must be true at its end."""

    name: str
    target: Target
    opening: float
    speed: float = FAST
    dwell_s: float = 0.06
    """Shortest stay at the target."""
    gate: Gate | None = None
    """What must hold before the next stage begins."""
    patience_s: float = 1.5
    """How long to wait for the gate before going on without it."""
    carries: str | None = None
    """Object that must be in the hand during this stage."""


def fixed(pose: ToolPose) -> Target:
    """Always ``pose``."""
    return lambda _truth, _entry: pose


def rise_to(z: float) -> Target:
    """Straight up (or down) to height ``z``."""
    return lambda _truth, entry: entry.at_height(z)


class Skill(Protocol):
    """What the expert does for one task."""

    def begin(self, truth: Truth, tool: ToolPose) -> Sequence[Stage]:
        """The stages of a fresh attempt, as the world is now; a thing that is in the hand already is carried on with."""
        ...

    def broken(self, truth: Truth, stage: Stage) -> bool:
        """Whether the world changed so that the attempt must start over."""
        ...


def approach(above: ToolPose, *, opening: float, tool: ToolPose) -> list[Stage]:
    """Get to ``above`` from anywhere without sweeping through things: first up, if the tool is low and elsewhere."""
    stages = []
    sideways = ((above.x - tool.x) ** 2 + (above.y - tool.y) ** 2) ** 0.5
    if tool.z < above.z - 0.02 and sideways > 0.01:
        stages.append(Stage("rise", rise_to(above.z), opening))
    stages.append(Stage("above", fixed(above), opening))
    return stages
