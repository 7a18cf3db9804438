"""Grippers: Robotiq 2F on its socket, one on a digital output, none, and a simulated one."""
