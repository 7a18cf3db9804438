"""The MuJoCo cell of the twin: arm, gripper, table, objects and both cameras."""

import os

# mujoco reads it once, when it is first imported; without a display its own choice fails
os.environ.setdefault("MUJOCO_GL", "egl")
# Software rendering in the calling thread alone: its helpers would take every core at once, thirty times a second, and with it
# the time of the control path on a machine of two
os.environ.setdefault("LP_NUM_THREADS", "0")
