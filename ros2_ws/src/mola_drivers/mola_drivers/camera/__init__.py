"""Cameras: live and recorded RealSense through one pipeline, and the twin's."""
