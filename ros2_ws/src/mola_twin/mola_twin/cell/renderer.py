"""Colour and depth of the same pixels in one pass, on the CPU if need be (EGL, no window).

``mujoco.Renderer`` draws twice for colour and depth; this one reads both buffers of a single drawing. Shadows and
multisampling stay off: on two CPU cores they cost ten times the rest.
"""

import os
from types import TracebackType
from typing import Self

import numpy as np
from jaxtyping import Float, UInt8

os.environ.setdefault("MUJOCO_GL", "egl")
# Mesa's software rasteriser: drawing such small pictures in the calling thread is cheaper than sharing them out
os.environ.setdefault("LP_NUM_THREADS", "0")

import mujoco
from mujoco.rendering.classic import gl_context

from mola_core.contracts.errors import MolaError
from mola_core.contracts.types import CameraIntrinsics


class CellRenderer:
    """Draws cameras of cell models at one size. Use it in the thread that made it: OpenGL contexts belong to threads.

    ``model`` is any cell model; its meshless scenes share one context, so that the model may change between drawings.
    """

    def __init__(self, model: mujoco.MjModel, *, width: int, height: int) -> None:
        self._rect = mujoco.MjrRect(0, 0, width, height)
        try:
            self._gl = gl_context.GLContext(width, height)
            self._gl.make_current()
        except Exception as error:
            raise MolaError(
                f"no OpenGL context for rendering ({error}); install libegl1 and libgl1-mesa-dri, or set MUJOCO_GL=osmesa"
            ) from error
        self._scene = mujoco.MjvScene(model, maxgeom=400)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = False
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SKYBOX] = False
        self._scene.flags[mujoco.mjtRndFlag.mjRND_HAZE] = False
        self._option = mujoco.MjvOption()
        self._option.sitegroup[:] = 0
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_resizeOffscreen(width, height, self._context)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        self._color = np.empty((height, width, 3), np.uint8)
        self._depth = np.empty((height, width), np.float32)

    def render(
        self, model: mujoco.MjModel, data: mujoco.MjData, *, camera: str, intrinsics: CameraIntrinsics, depth: bool
    ) -> tuple[UInt8[np.ndarray, "height width 3"], Float[np.ndarray, "height width"] | None]:
        """Draw ``camera`` as ``data`` stands: RGB, and distance along the optical axis in metres (inf: nothing there).

        ``intrinsics`` must have the renderer's width and height, square pixels and a central principal point.
        """
        camera_id = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, camera)
        model.cam_fovy[camera_id] = np.rad2deg(2 * np.arctan(intrinsics.height / 2 / intrinsics.fy))
        self._camera.fixedcamid = camera_id
        mujoco.mjv_updateScene(model, data, self._option, None, self._camera, mujoco.mjtCatBit.mjCAT_ALL, self._scene)
        self._gl.make_current()
        mujoco.mjr_render(self._rect, self._scene, self._context)
        mujoco.mjr_readPixels(self._color, self._depth if depth else None, self._rect, self._context)
        color = np.ascontiguousarray(self._color[::-1])
        return color, _metres(model, self._depth[::-1]) if depth else None

    def close(self) -> None:
        """Release the OpenGL context; safe to call twice."""
        if self._context is not None:
            self._gl.make_current()
            self._context.free()
            self._gl.free()
            self._context = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _metres(model: mujoco.MjModel, buffer: Float[np.ndarray, "height width"]) -> Float[np.ndarray, "height width"]:
    """Undo the reversed-z projection: buffer 1 is the near plane, 0 the far one."""
    near = model.vis.map.znear * model.stat.extent
    far = model.vis.map.zfar * model.stat.extent
    scale, shift = np.float32((far - near) / (far * near)), np.float32(1.0 / far)
    depth = np.reciprocal(buffer * scale + shift)
    depth[buffer <= 0.0] = np.inf
    return depth
