"""The arm: a UR5e over RTDE, and a simulated one for unit tests."""
