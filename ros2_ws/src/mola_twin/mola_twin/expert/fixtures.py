"""Opening the drawer and pressing the button."""

from collections.abc import Sequence

import numpy as np

from mola_twin.expert.home import home_pose
from mola_twin.expert.pick_place import let_go
from mola_twin.expert.stages import SLOW, Stage, approach, fixed, rise_to
from mola_twin.expert.tool_path import ToolPose
from mola_twin.tasks.success import DRAWER_OPEN_M
from mola_twin.tasks.truth import Truth

HANDLE_OPENING = 0.42
"""Wide enough for the bar, narrow enough that one finger fits between bar and front."""
PULL_TO_M = DRAWER_OPEN_M + 0.022
PRESS_DEPTH_M = 0.0085
_IN_HAND_M, _IN_HAND_OPENING = 0.02, 0.3
"""The tool so near the handle, the fingers so far closed: the bar is between them."""


class OpenDrawer:
    """Take the handle from above and pull along the drawer's own direction."""

    def begin(self, truth: Truth, tool: ToolPose) -> Sequence[Stage]:
        """See :class:`mola_twin.expert.stages.Skill`."""
        yaw = truth.objects["cabinet"].yaw
        x, y, z = (float(value) for value in truth.handle_position)
        taken = _has_handle(truth)
        grasp = tool if taken else ToolPose(x, y, z - 0.012, yaw)
        pull = max(PULL_TO_M - truth.drawer_opening, 0.0)
        out = grasp.moved(x=pull * float(np.sin(yaw)), y=-pull * float(np.cos(yaw)))
        reach = [
            *approach(grasp.at_height(0.20), opening=HANDLE_OPENING, tool=tool),
            Stage("descend", fixed(grasp), HANDLE_OPENING, speed=SLOW),
        ]
        return [
            *([] if taken else reach),
            Stage("close", fixed(grasp), 0.0, dwell_s=0.35),
            Stage("pull", fixed(out), 0.0, speed=SLOW * 0.75, dwell_s=0.15),
            *let_go(up_z=0.22, opening=HANDLE_OPENING),
        ]

    def broken(self, truth: Truth, stage: Stage) -> bool:
        """The bar slipped out of the fingers during the pull."""
        slipped = float(np.linalg.norm(truth.handle_position[:2] - truth.base_from_tcp[:2, 3])) > 0.03
        return stage.name == "pull" and slipped


def _has_handle(truth: Truth) -> bool:
    away = float(np.linalg.norm(truth.handle_position - truth.base_from_tcp[:3, 3]))
    return away < _IN_HAND_M and truth.gripper_opening < _IN_HAND_OPENING


class PressButton:
    """Push the button down with closed fingers."""

    def begin(self, truth: Truth, tool: ToolPose) -> Sequence[Stage]:
        """See :class:`mola_twin.expert.stages.Skill`."""
        x, y, z = (float(value) for value in truth.button_position)
        rest_z = z + truth.button_travel
        above = ToolPose(x, y, rest_z + 0.06, 0.0)
        return [
            *approach(above, opening=0.0, tool=tool),
            Stage("press", fixed(above.at_height(rest_z - PRESS_DEPTH_M)), 0.0, speed=SLOW * 0.75, dwell_s=0.15),
            Stage("up", rise_to(0.2), 0.0),
            Stage("home", fixed(home_pose()), 1.0),
        ]

    def broken(self, truth: Truth, stage: Stage) -> bool:  # noqa: ARG002
        """A button stays where it is."""
        return False
