"""From a camera's frame to a network's view: the only preprocessing there is, in training, in the twin and on the rig."""

import cv2
import numpy as np
from jaxtyping import UInt8


def centre_crop_box(*, width: int, height: int, view_width: int, view_height: int) -> tuple[int, int, int, int]:
    """(left, top, width, height) of the largest centred box of a ``width`` × ``height`` image with the view's aspect."""
    box_width = min(width, round(height * view_width / view_height))
    box_height = min(height, round(width * view_height / view_width))
    return (width - box_width) // 2, (height - box_height) // 2, box_width, box_height


def view_of(
    color: UInt8[np.ndarray, "height width 3"], *, view_width: int, view_height: int, may_enlarge: bool = False
) -> UInt8[np.ndarray, "view_height view_width 3"]:
    """The centred crop of ``color`` with the view's aspect, averaged down to the view's size.

    ``may_enlarge`` interpolates (bicubic) what is smaller than the view instead of refusing it. It is for pictures of other robots,
    from which a model learns how things move; never for what a policy sees or learns to act on: it would be shown sharper pictures
    than it was taught with, or the other way round.

    Raises:
        ValueError: not an 8-bit RGB image, or one smaller than the view that may not be enlarged.
    """
    if color.dtype != np.uint8 or color.ndim != 3 or color.shape[2] != 3:
        raise ValueError(f"a view needs height x width x 3 of uint8, got {color.shape} of {color.dtype}")
    height, width = color.shape[:2]
    left, top, box_width, box_height = centre_crop_box(
        width=width, height=height, view_width=view_width, view_height=view_height
    )
    smaller = box_width < view_width or box_height < view_height
    if smaller and not may_enlarge:
        raise ValueError(
            f"a frame of {width} x {height} is too small for a view of {view_width} x {view_height}; choose a smaller view, or a "
            "larger stream of the camera"
        )
    crop = color[top : top + box_height, left : left + box_width]
    if (box_width, box_height) == (view_width, view_height):
        return np.ascontiguousarray(crop)
    return cv2.resize(crop, (view_width, view_height), interpolation=cv2.INTER_CUBIC if smaller else cv2.INTER_AREA)
