#!/bin/bash
# Every command of the image sees ROS 2 and the workspace.
set -e
source /opt/ros/jazzy/setup.bash
source /opt/mola_ws/setup.bash
exec "$@"
