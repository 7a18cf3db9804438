"""Runs at each start of the environment's Python (from mola.pth): does what sourcing colcon's setup.bash would do.

The ROS wheels start Python a second time to set LD_LIBRARY_PATH, guarded by a variable that children inherit. In a child
that belongs to another environment both the guard and the paths would be wrong, so they are dropped here first.
"""

import os
import sys

_GUARD = "_ROS_WHEELS_BOOTSTRAP_COMPLETE"


def _inherited_from_elsewhere() -> bool:
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    return _GUARD in os.environ and os.path.join(sys.prefix, "lib") not in libraries  # noqa: PTH118  # cheap start


if _inherited_from_elsewhere():
    for _name in (_GUARD, "LD_LIBRARY_PATH", "AMENT_PREFIX_PATH"):
        os.environ.pop(_name, None)
os.environ.setdefault("AMENT_PREFIX_PATH", sys.prefix)
