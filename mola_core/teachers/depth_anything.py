"""Depth Anything V2 (Yang et al. 2024) through transformers: relative inverse depth, larger is nearer."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Shaped

from mola_core.data.labels.info import MapsInfo
from mola_core.teachers.loading import pretrained
from mola_core.teachers.pictures import batches, normalized, resized
from mola_core.teachers.protocol import EpisodeToLabel, TeacherSettings, Views

if TYPE_CHECKING:
    from transformers import DepthAnythingForDepthEstimation

NAME = "depth_anything_v2"
USUAL_WEIGHTS = "depth-anything/Depth-Anything-V2-Base-hf"
SHORT_SIDE = 518
"""Pixels of the shorter side that the network was trained on; both sides are multiples of its patch."""
_COUNTS = np.iinfo(np.uint16).max


class DepthAnythingTeacher:
    """Labels ``depth``: of each frame's own scale, as the model gives it."""

    name = NAME

    def __init__(
        self, model: "DepthAnythingForDepthEstimation", settings: TeacherSettings, *, short_side: int = SHORT_SIDE
    ) -> None:
        self._model, self._settings, self._short_side = model, settings, short_side

    def info(self) -> MapsInfo:
        sizes = dict.fromkeys(self._settings.cameras, self._settings.size)
        weights = str(self._settings.weights)
        return MapsInfo(teacher=NAME, model=weights, labels=("depth",), sizes=sizes, depth_unit="relative")

    def label(self, episode: EpisodeToLabel) -> Mapping[str, Shaped[np.ndarray, "R *shape"]]:
        arrays = {}
        for camera in self._settings.cameras:
            depth = self._depth(episode.views(camera))
            largest = depth.max(axis=(1, 2))
            scale = np.where(largest > 0.0, largest, 1.0) / _COUNTS
            counts = np.rint(depth / scale[:, None, None])
            arrays[f"depth/{camera}"] = np.clip(counts, 1, _COUNTS).astype(np.uint16)  # 0 would say: unknown
            arrays[f"depth_scale/{camera}"] = scale.astype(np.float32)
        return arrays

    @torch.inference_mode()
    def _depth(self, views: Views) -> Float[np.ndarray, "R h w"]:
        width, height = self._input_size(views.shape[2], views.shape[1])
        maps = []
        for pictures in batches(views, self._settings.batch):
            pixels = normalized(pictures.to(self._model.device), width=width, height=height)
            predicted = self._model(pixel_values=pixels).predicted_depth  # b height width
            maps.append(resized(predicted[:, None], size=self._settings.size)[:, 0].cpu())
        return torch.cat(maps).numpy()

    def _input_size(self, width: int, height: int) -> tuple[int, int]:
        patch = self._model.config.patch_size
        assert isinstance(patch, int)  # noqa: S101  # Depth Anything's patches are square
        scale = self._short_side / min(width, height)
        wide, high = (max(round(side * scale / patch), 1) * patch for side in (width, height))
        return wide, high


def open_teacher(settings: TeacherSettings) -> DepthAnythingTeacher:
    """The teacher with the settings' weights. Raises TeacherError where they are missing."""
    from transformers import DepthAnythingForDepthEstimation  # noqa: PLC0415  # seconds to import

    model = pretrained(DepthAnythingForDepthEstimation.from_pretrained, settings, usual=USUAL_WEIGHTS)
    return DepthAnythingTeacher(model, settings)
