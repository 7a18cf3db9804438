"""ROS 2 launch files without ROS 2: standard ``*.launch.xml`` read, expanded to processes, and supervised.

>>> plan = expand(path, {"policy": "none"})
>>> with Supervisor(plan) as graph:
...     pid = graph.kill("controller", signal.SIGKILL)
...     graph.wait_pid("controller", other_than=pid)
"""

from mola_core.launching.errors import LaunchArgumentError, LaunchFileError, ProcessError
from mola_core.launching.expansion import expand
from mola_core.launching.plan import LaunchPlan, ParameterText, ProcessSpec
from mola_core.launching.supervision import Supervisor
from mola_core.launching.tending import ProcessExit

__all__ = [
    "LaunchArgumentError",
    "LaunchFileError",
    "LaunchPlan",
    "ParameterText",
    "ProcessError",
    "ProcessExit",
    "ProcessSpec",
    "Supervisor",
    "expand",
]
