"""A person at the twin: somebody who sees the scene and steers by a stick."""
