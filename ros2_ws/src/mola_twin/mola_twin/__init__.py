"""The twin: a simulated rig that real clients talk to. No rclpy, no torch."""
