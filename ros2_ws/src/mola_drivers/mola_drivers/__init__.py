"""Cameras, arm, gripper and teleoperation: a small protocol each, real and simulated devices behind it.

No rclpy, no torch; of the rest of the house only ``mola_core.contracts``.
"""
