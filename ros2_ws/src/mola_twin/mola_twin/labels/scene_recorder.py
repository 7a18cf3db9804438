"""Exact labels of a lockstep episode, row by row, in the form of :class:`mola_core.data.labels.info.RigidSceneInfo`."""

from collections.abc import Sequence
from typing import Self

import numpy as np
from jaxtyping import Float32, Shaped

from mola_core.contracts.site import Site
from mola_core.contracts.types import CameraIntrinsics
from mola_core.data.labels.info import LabelCamera, RigidSceneInfo
from mola_twin.cell import optics
from mola_twin.labels.classes import CLASSES, body_of_geom, class_of_geom
from mola_twin.labels.geom_renderer import GeomRenderer
from mola_twin.labels.referents import part_of_class
from mola_twin.lockstep import LockstepRig

TEACHER = "twin"
DEPTH_UNIT_M = 1e-4
_FARTHEST = np.iinfo(np.uint16).max


def scene_info(site: Site, *, cameras: Sequence[str], width: int, height: int) -> RigidSceneInfo:
    """What the labels of the twin's ``cameras`` are, drawn at one size."""
    views = {name: _view(site, name, width=width, height=height) for name in cameras}
    return RigidSceneInfo(
        teacher=TEACHER,
        cameras={name: LabelCamera(width=width, height=height, focal=view.fy) for name, view in views.items()},
        depth_unit_m=DEPTH_UNIT_M,
        classes=CLASSES,
        class_of_geom=tuple(int(number) for number in class_of_geom()),
        body_of_geom=tuple(int(number) for number in body_of_geom()),
        refers=True,
    )


def _view(site: Site, name: str, *, width: int, height: int) -> CameraIntrinsics:
    stream = site.cameras[name]
    full = optics.intrinsics(model=stream.model, width=stream.width, height=stream.height)
    return optics.centre_crop(full, width=width, height=height)


class SceneRecorder:
    """Labels of one rig's episodes. Use it in the rig's thread; close it, or use ``with``."""

    def __init__(self, rig: LockstepRig, *, cameras: Sequence[str], width: int, height: int) -> None:
        self._rig = rig
        self._views = {name: _view(rig.site, name, width=width, height=height) for name in cameras}
        self._num_bodies = int(body_of_geom().max()) + 1
        self._renderer = GeomRenderer(rig.cell.model, width=width, height=height)
        self.begin()

    def begin(self) -> None:
        """Forget the rows so far."""
        self._rows: list[dict[str, np.ndarray]] = []

    def add_row(self) -> None:
        """Label the scene as it stands."""
        cell = self._rig.cell
        bodies = np.zeros(
            (self._num_bodies, 3, 4), np.float32
        )  # of the largest model, so that episodes of all variants stack
        bodies[: cell.model.nbody] = _transforms(cell.data.xmat, cell.data.xpos)
        row: dict[str, np.ndarray] = {"base_from_body": bodies, "part_of_class": part_of_class(cell.start)}
        for name, view in self._views.items():
            geom, depth = self._renderer.geoms(cell.model, cell.data, camera=name, intrinsics=view)
            row[f"geom/{name}"] = geom
            counts = np.rint(np.where(np.isfinite(depth), depth, 0.0) / DEPTH_UNIT_M)
            row[f"depth/{name}"] = np.where(counts <= _FARTHEST, counts, 0).astype(np.uint16)
            camera = cell.model.camera(name).id
            base_from_camera = _transforms(cell.data.cam_xmat[camera][None], cell.data.cam_xpos[camera][None])[0]
            row[f"base_from_camera/{name}"] = _optical(base_from_camera)
        self._rows.append(row)

    def arrays(self) -> dict[str, Shaped[np.ndarray, "rows *shape"]]:
        """All rows since :meth:`begin`."""
        return {name: np.stack([row[name] for row in self._rows]) for name in self._rows[0]}

    def close(self) -> None:
        """Release the renderer."""
        self._renderer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _transforms(rotations: np.ndarray, positions: np.ndarray) -> Float32[np.ndarray, "n 3 4"]:
    return np.concatenate([rotations.reshape(-1, 3, 3), positions[:, :, None]], axis=2).astype(np.float32)


def _optical(base_from_gl: Float32[np.ndarray, "3 4"]) -> Float32[np.ndarray, "3 4"]:
    """From MuJoCo's camera frame (y up, z backward) to the optical one (y down, z forward)."""
    optical = base_from_gl.copy()
    optical[:, 1:3] *= -1.0
    return optical
