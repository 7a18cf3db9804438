"""Teleoperation on the graph."""
