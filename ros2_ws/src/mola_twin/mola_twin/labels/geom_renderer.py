"""Which geom each pixel shows, and how far away it is."""

import mujoco
import numpy as np
from jaxtyping import Float32, UInt8

from mola_core.contracts.types import CameraIntrinsics
from mola_twin.cell.renderer import CellRenderer

NOTHING = 255


class GeomRenderer(CellRenderer):
    """Draws numbers instead of colours."""

    def __init__(self, model: mujoco.MjModel, *, width: int, height: int) -> None:
        super().__init__(model, width=width, height=height)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = True
        self._scene.flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = True

    def geoms(
        self, model: mujoco.MjModel, data: mujoco.MjData, *, camera: str, intrinsics: CameraIntrinsics
    ) -> tuple[UInt8[np.ndarray, "height width"], Float32[np.ndarray, "height width"]]:
        """(geom number or NOTHING, distance along the optical axis in m or inf) as ``data`` stands."""
        color, depth = self.render(model, data, camera=camera, intrinsics=intrinsics, depth=True)
        assert depth is not None  # noqa: S101  # it was asked for
        segment = (
            color[..., 0].astype(np.int64) | color[..., 1].astype(np.int64) << 8 | color[..., 2].astype(np.int64) << 16
        )
        return self._geom_of_segment()[segment], depth

    def _geom_of_segment(self) -> UInt8[np.ndarray, "segments"]:
        table = np.full(self._scene.ngeom + 1, NOTHING, np.uint8)
        for geom in self._scene.geoms[: self._scene.ngeom]:
            if geom.segid >= 0 and geom.objtype == mujoco.mjtObj.mjOBJ_GEOM:
                table[geom.segid + 1] = geom.objid
        return table
