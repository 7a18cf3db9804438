"""SAM 2 (Ravi et al. 2024) through transformers: the features of its image encoder, pooled, as what a place means.

Its masks have no names and no order, so that they cannot be classes; the authors' release of MoLA learns the features of the encoder
too (there SAM's, 256 numbers on a 16 × 16 grid).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Shaped

from mola_core.data.labels.info import MapsInfo
from mola_core.teachers.loading import pretrained
from mola_core.teachers.pictures import batches, normalized, resized
from mola_core.teachers.protocol import EpisodeToLabel, TeacherSettings, Views

if TYPE_CHECKING:
    from transformers import Sam2Model

NAME = "sam2"
USUAL_WEIGHTS = "facebook/sam2.1-hiera-base-plus"
_COUNTS = np.iinfo(np.int8).max


class Sam2Teacher:
    """Labels ``semantic`` with D numbers a cell."""

    name = NAME

    def __init__(self, model: "Sam2Model", settings: TeacherSettings) -> None:
        self._model, self._settings = model, settings

    def info(self) -> MapsInfo:
        sizes = dict.fromkeys(self._settings.cameras, self._settings.size)
        return MapsInfo(teacher=NAME, model=str(self._settings.weights), labels=("semantic",), sizes=sizes)

    def label(self, episode: EpisodeToLabel) -> Mapping[str, Shaped[np.ndarray, "R *shape"]]:
        arrays = {}
        for camera in self._settings.cameras:
            features = self._features(episode.views(camera))
            largest = np.abs(features).max(axis=(1, 2))
            scale = np.where(largest > 0.0, largest, 1.0) / _COUNTS
            arrays[f"semantic/{camera}"] = np.rint(features / scale[:, None, None, :]).astype(np.int8)
            arrays[f"semantic_scale/{camera}"] = scale.astype(np.float32)
        return arrays

    @torch.inference_mode()
    def _features(self, views: Views) -> Float[np.ndarray, "R h w D"]:
        encoder: Any = self._model.config.prompt_encoder_config
        side = int(encoder.image_size)
        maps = []
        for pictures in batches(views, self._settings.batch):
            pixels = normalized(pictures.to(self._model.device), width=side, height=side)
            coarsest = self._model.get_image_embeddings(pixels)[-1]  # b D h w
            maps.append(rearrange(resized(coarsest, size=self._settings.size), "b d h w -> b h w d").cpu())
        return torch.cat(maps).numpy()


def open_teacher(settings: TeacherSettings) -> Sam2Teacher:
    """The teacher with the settings' weights. Raises TeacherError where they are missing."""
    from transformers import Sam2Model  # noqa: PLC0415  # seconds to import

    return Sam2Teacher(pretrained(Sam2Model.from_pretrained, settings, usual=USUAL_WEIGHTS), settings)
