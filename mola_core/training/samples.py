"""Pictures for people: rows of frames under their names, heat maps, bars."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

Frame = UInt8[np.ndarray, "height width 3"]
_SCALE_TO = 120
_MARGIN, _TITLE = 2, 64


def side_by_side(rows: Mapping[str, Sequence[Frame] | UInt8[np.ndarray, "n height width 3"]]) -> Frame:
    """One row of frames for each name, equally many in each."""
    return np.concatenate([_row(name, list(frames)) for name, frames in rows.items()])


def _row(name: str, frames: Sequence[Frame]) -> Frame:
    factor = max(1, round(_SCALE_TO / frames[0].shape[0]))
    tiles = []
    for frame in frames:
        larger = cv2.resize(frame, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST)
        tiles.append(
            cv2.copyMakeBorder(larger, _MARGIN, _MARGIN, _MARGIN, _MARGIN, cv2.BORDER_CONSTANT, value=(255, 255, 255))
        )
    title = np.full((tiles[0].shape[0], _TITLE, 3), 255, np.uint8)
    for number, word in enumerate(name.split()):
        cv2.putText(title, word, (2, 16 + 14 * number), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([title, *tiles], axis=1)


def spaced(size: int, number: int) -> Int[np.ndarray, "n"]:
    """``number`` indices below ``size``, evenly spaced, fewer where there are fewer."""
    return np.linspace(0, size - 1, min(number, size)).astype(int)


def as_heat(values: Float[np.ndarray, "height width"], *, low: float | None = None, high: float | None = None) -> Frame:
    """Numbers as colours, dark to bright; the range is theirs unless given."""
    bottom = float(values.min()) if low is None else low
    top = float(values.max()) if high is None else high
    level = np.clip((values - bottom) / max(top - bottom, 1e-9), 0.0, 1.0)
    return cv2.cvtColor(cv2.applyColorMap((level * 255).astype(np.uint8), cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)


def as_classes(numbers: np.ndarray) -> Frame:
    """Class numbers as colours that tell neighbours apart."""
    hue = (numbers.astype(np.int64) * 67 % 180).astype(np.uint8)
    full = np.where(numbers > 0, 220, 60).astype(np.uint8)
    return cv2.cvtColor(np.stack([hue, full, full], axis=-1), cv2.COLOR_HSV2RGB)


def as_motion(flow: Float[np.ndarray, "height width 2"], *, most: float) -> Frame:
    """Flow as colours: hue is the direction, brightness the length up to ``most``."""
    length, angle = np.hypot(flow[..., 0], flow[..., 1]), np.arctan2(flow[..., 1], flow[..., 0])
    hue = ((angle + np.pi) / (2 * np.pi) * 179).astype(np.uint8)
    value = (np.clip(length / max(most, 1e-9), 0.0, 1.0) * 255).astype(np.uint8)
    return cv2.cvtColor(np.stack([hue, np.full_like(hue, 255), value], axis=-1), cv2.COLOR_HSV2RGB)


def overlaid(frame: Frame, heat: Float[np.ndarray, "rows columns"]) -> Frame:
    """A coarse heat map over a frame."""
    height, width = frame.shape[:2]
    smooth = cv2.resize(heat.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return cv2.addWeighted(frame, 0.5, as_heat(smooth), 0.5, 0.0)


def bars(values: Mapping[str, Float[np.ndarray, "n"]], *, height: int = 80, width: int = 640) -> Frame:
    """One histogram a name, sorted from the most to the least."""
    pictures = []
    for name, numbers in values.items():
        picture = np.full((height, width, 3), 255, np.uint8)
        order = np.sort(numbers)[::-1]
        step = width / len(order)
        for number, value in enumerate(order):
            left, top = int(number * step), int(height * (1.0 - value / max(float(order[0]), 1e-9)))
            cv2.rectangle(picture, (left, top), (max(left, int((number + 1) * step) - 2), height), (70, 110, 180), -1)
        title = np.full((height, _TITLE, 3), 255, np.uint8)
        cv2.putText(title, name, (2, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
        pictures.append(np.concatenate([title, picture], axis=1))
    return np.concatenate(pictures)
