"""Renders one 64×64 frame without a screen."""

import json
import time

import mujoco
from OpenGL import GL

_SCENE = """
<mujoco>
  <worldbody>
    <light pos="0 0 3"/>
    <geom type="plane" size="1 1 0.1" rgba="0.2 0.4 0.8 1"/>
    <geom type="sphere" size="0.2" pos="0 0 0.2" rgba="0.9 0.2 0.1 1"/>
  </worldbody>
</mujoco>
"""


def main() -> None:
    """Print the renderer's name, the time of a frame in ms, and how many levels of grey the frame has."""
    model = mujoco.MjModel.from_xml_string(_SCENE)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    with mujoco.Renderer(model, height=64, width=64) as renderer:
        renderer.update_scene(data)
        renderer.render()
        start = time.perf_counter()
        frame = renderer.render()
        frame_ms = 1000.0 * (time.perf_counter() - start)
        name = GL.glGetString(GL.GL_RENDERER).decode()
    print(json.dumps({"renderer": name, "frame_ms": frame_ms, "levels": len(set(frame.ravel().tolist()))}))


if __name__ == "__main__":
    main()
