"""From what a rig delivers to what a policy takes."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, UInt8

from mola_core.contracts.io_spec import IoSpec
from mola_core.contracts.preprocess import view_of
from mola_core.contracts.types import RobotState
from mola_core.runtime.tensors import RuntimeInputError


def views_of(
    frames: Mapping[str, UInt8[np.ndarray, "height width 3"]], *, io: IoSpec
) -> dict[str, UInt8[np.ndarray, "view_height view_width 3"]]:
    """The views of ``io`` cut out of the cameras' frames.

    Raises:
        RuntimeInputError: a camera that the policy looks through is not there.
    """
    missing = [view.camera for view in io.views if view.camera not in frames]
    if missing:
        raise RuntimeInputError(
            f"the policy looks through {', '.join(missing)}; the rig has {', '.join(sorted(frames))}"
        )
    return {
        view.camera: view_of(frames[view.camera], view_width=view.width, view_height=view.height) for view in io.views
    }


def state_row(state: RobotState) -> Float[np.ndarray, "13"]:
    """A row of ``STATE_NAMES``: rad, m, opening 0..1.

    Raises:
        RuntimeInputError: the gripper has said nothing of its opening.
    """
    if state.gripper_opening is None:
        raise RuntimeInputError("the rig's gripper says nothing of its opening, which the policy needs")
    return np.concatenate([state.joint_positions, state.base_from_tcp, [state.gripper_opening]])
