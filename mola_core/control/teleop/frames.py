"""Twists in the axes of base, tool or camera, brought into the base's."""

import numpy as np
from jaxtyping import Float

from mola_core.contracts.errors import ConfigError
from mola_core.contracts.geometry import Rotation, Transform
from mola_core.contracts.site import Site
from mola_core.contracts.teleop import Twist, TwistFrame

_OPTICAL_FROM_VIEW = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
"""View axes (right, away, up) in a camera's optical axes (right, down, into the scene)."""


class TwistFrames:
    """Knows the site's cameras."""

    def __init__(self, site: Site, *, view: str) -> None:
        """``view`` is the camera meant by :attr:`TwistFrame.VIEW`.

        Raises:
            ConfigError: the site has no such camera.
        """
        if view not in site.cameras:
            raise ConfigError(
                f"site {site.name!r} has no camera {view!r} to steer by; it has {', '.join(site.cameras)}"
            )
        camera = site.cameras[view]
        self._is_fixed = camera.base_from_camera is not None
        self._parent_from_view: Rotation = camera.parent_from_camera[:3, :3] @ _OPTICAL_FROM_VIEW

    def in_base(self, twist: Twist, *, chosen: TwistFrame, base_from_tcp: Transform) -> Float[np.ndarray, "6"]:
        """Velocity of the TCP in the base's axes: m/s, then rad/s."""
        frame = chosen if twist.frame is TwistFrame.CHOSEN else twist.frame
        rotation = self._base_from(frame, base_from_tcp[:3, :3])
        velocity = np.asarray(twist.velocity, dtype=np.float64)
        return np.concatenate([rotation @ velocity[:3], rotation @ velocity[3:]])

    def _base_from(self, frame: TwistFrame, base_from_tcp: Rotation) -> Rotation:
        if frame is TwistFrame.TCP:
            return base_from_tcp
        if frame is TwistFrame.VIEW:
            return self._parent_from_view if self._is_fixed else base_from_tcp @ self._parent_from_view
        return np.eye(3)
