"""CoTracker3 (Karaev et al. 2025) through its authors' package: where each cell's middle has moved to some rows later.

The package is on no registry; it is installed from its repository, facebookresearch/co-tracker. As in the authors' release of MoLA,
what is tracked is now and the frames that are asked for, not those between.
"""

import importlib
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from mola_core.data.labels.info import MapsInfo
from mola_core.teachers.pictures import torch_device
from mola_core.teachers.protocol import EpisodeToLabel, TeacherError, TeacherSettings, Views

NAME = "cotracker3"
USUAL_WEIGHTS = "scaled_offline.pth of CoTracker3"
WINDOW = 60
"""Frames that the offline model was trained on."""
FLOW_UNIT = 2.0**-13
_COUNTS = np.iinfo(np.int16).max


class Predictor(Protocol):
    """``cotracker.predictor.CoTrackerPredictor``."""

    def __call__(
        self, video: Float[Tensor, "b t 3 height width"], *, queries: Float[Tensor, "b n 3"]
    ) -> tuple[Float[Tensor, "b t n 2"], Bool[Tensor, "b t n"]]:
        """Tracks in pixels, and whether each point is seen; ``queries`` are (frame, x, y)."""
        ...


class CoTrackerTeacher:
    """Labels ``flow`` over each of the settings' offsets."""

    name = NAME

    def __init__(self, predictor: Predictor, settings: TeacherSettings, *, device: torch.device) -> None:
        self._predictor, self._settings, self._device = predictor, settings, device

    def info(self) -> MapsInfo:
        settings = self._settings
        return MapsInfo(
            teacher=NAME,
            model=str(settings.weights),
            labels=("flow",),
            sizes=dict.fromkeys(settings.cameras, settings.size),
            flow_offsets=settings.flow_offsets,
            flow_unit=FLOW_UNIT,
        )

    def label(self, episode: EpisodeToLabel) -> Mapping[str, Shaped[np.ndarray, "R *shape"]]:
        arrays: dict[str, np.ndarray] = {}
        for camera in self._settings.cameras:
            shift, seen = self._flow(episode.views(camera))
            counts = np.clip(np.rint(shift / FLOW_UNIT), -_COUNTS, _COUNTS).astype(np.int16)
            for at, offset in enumerate(self._settings.flow_offsets):
                arrays[f"flow+{offset}/{camera}"] = counts[:, at]
                arrays[f"flow_known+{offset}/{camera}"] = seen[:, at].astype(np.uint8)
        return arrays

    @torch.inference_mode()
    def _flow(self, views: Views) -> tuple[Float[np.ndarray, "R K h w 2"], Bool[np.ndarray, "R K h w"]]:
        """Of every row over all K offsets; beyond the end of the episode nothing is known.

        A row at a time: CoTracker3's offline model takes one video only.
        """
        num_rows, height, width = views.shape[:3]
        columns, lines = self._settings.size
        offsets = np.array(self._settings.flow_offsets)
        shift = np.zeros((num_rows, len(offsets), lines, columns, 2), np.float32)
        seen = np.zeros((num_rows, len(offsets), lines, columns), bool)
        queries = self._queries(width, height)
        for row in range(num_rows):
            there = np.flatnonzero(row + offsets < num_rows)
            if not len(there):
                continue
            frames = torch.from_numpy(views[np.concatenate([[row], row + offsets[there]])])
            video = rearrange(frames, "t h w c -> 1 t c h w").float().to(self._device)
            tracks, visible = self._predictor(video, queries=queries)
            moved = (tracks[0, 1:] - queries[0, :, 1:]).cpu().numpy() / np.array([width, height], np.float32)
            shift[row, there] = rearrange(moved, "k (h w) xy -> k h w xy", h=lines)
            seen[row, there] = rearrange(visible[0, 1:].cpu().numpy().astype(bool), "k (h w) -> k h w", h=lines)
        return shift, seen

    def _queries(self, width: int, height: int) -> Float[Tensor, "1 n 3"]:
        """The middles of all cells in the first frame."""
        columns, lines = self._settings.size
        y, x = np.mgrid[:lines, :columns]
        points = np.stack(
            [np.zeros_like(x), (x + 0.5) * width / columns - 0.5, (y + 0.5) * height / lines - 0.5], axis=-1
        )
        return torch.from_numpy(points.reshape(1, -1, 3).astype(np.float32)).to(self._device)


def open_teacher(settings: TeacherSettings) -> CoTrackerTeacher:
    """The teacher with the settings' weights.

    Raises:
        TeacherError: package or weights are missing, the weights do not fit, or no offsets are given.
    """
    if not settings.flow_offsets:
        raise TeacherError(
            "cotracker3 labels motion over rows: --offsets 4,8 says over how many (the recipe's foresight offsets)"
        )
    try:
        module = importlib.import_module("cotracker.predictor")
    except ImportError as error:
        raise TeacherError(
            f"the package cotracker is not installed ({error}); install facebookresearch/co-tracker from its repository"
        ) from error
    if settings.weights is None:
        raise TeacherError(f"this teacher needs weights: --weights PATH of {USUAL_WEIGHTS}")
    device = torch_device(settings.device)
    predictor = module.CoTrackerPredictor(checkpoint=None, offline=True, v2=False, window_len=WINDOW)
    load_weights(predictor.model, Path(settings.weights))
    return CoTrackerTeacher(predictor.to(device), settings, device=device)


def load_weights(model: torch.nn.Module, path: Path) -> None:
    """Fill ``model`` from a ``.pth`` of tensors alone; nothing else in the file is unpickled.

    Raises:
        TeacherError: missing, damaged, or of another architecture.
    """
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(content.get("model", content))
    except (OSError, RuntimeError, ValueError, AttributeError, EOFError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        size = f" (it has {path.stat().st_size} bytes)" if path.is_file() else ""
        raise TeacherError(
            f"weights {path} cannot be used{size}: {reason}; download {USUAL_WEIGHTS} again and give its path"
        ) from error
    except pickle.UnpicklingError as error:
        raise TeacherError(
            f"weights {path} hold more than tensors, or were not downloaded whole (it has {path.stat().st_size} bytes); download "
            f"{USUAL_WEIGHTS} again and give its path"
        ) from error
