"""Demonstrations by the scripted expert, as a LeRobot dataset: ``mola data generate``."""
