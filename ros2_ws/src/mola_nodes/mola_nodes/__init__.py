"""The ROS 2 nodes: they wire, they do not compute."""
