"""Policies as they run on the robot, without torch: text encoder, engines, imagination and policy."""
