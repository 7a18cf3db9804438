"""What an instruction speaks of, for labels: the thing to act on, and the place that it goes to."""

import numpy as np
from jaxtyping import UInt8

from mola_core.data.sample import ACTED_ON, GOES_TO
from mola_twin.labels.classes import CLASSES
from mola_twin.tasks.start import SceneStart


def part_of_class(start: SceneStart) -> UInt8[np.ndarray, "classes"]:
    """For each of CLASSES its part in the instruction of ``start``: 0, ACTED_ON or GOES_TO.

    Raises:
        KeyError: a task that is not known here.
    """
    acted_on, goes_to = {
        "bottle_in_bin": ("bottle", "bin"),
        "grab_bowl": ("bowl", None),
        "stack_blocks": (start.stack_top, start.stack_bottom),
        "open_drawer": ("drawer", None),
        "press_button": ("button", None),
    }[start.task]
    parts = np.zeros(len(CLASSES), np.uint8)
    parts[CLASSES.index(acted_on)] = ACTED_ON
    if goes_to is not None:
        parts[CLASSES.index(goes_to)] = GOES_TO
    return parts
