"""Lays the first frame of an episode over the live view of a camera, so that the scene can be put back as it was."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NoReturn

from mola_interfaces.srv import ShowFirstFrame
from sensor_msgs.msg import Image

from mola_core.contracts.clock import NS_PER_S
from mola_core.contracts.errors import ConfigError
from mola_core.contracts.site import load_site
from mola_nodes import graph
from mola_nodes.conversions.images import color_from_message, color_image_message
from mola_nodes.lifecycle import MolaNode
from mola_nodes.params import Param, SiteParams
from mola_nodes.process import Ending, run_node
from mola_nodes.teleop.overlay import OverlayError, blended, first_frame, write_png


@dataclass(frozen=True)
class ResetOverlayParams(SiteParams):
    """Parameters of the overlay."""

    camera: Annotated[str, Param("Whose view")] = "third_person"
    first_frame: Annotated[str, Param("PNG or episode to begin with; empty: none")] = ""
    rate_hz: Annotated[float, Param("Overlays published", unit="Hz", minimum=0.5, maximum=30.0)] = 5.0


class ResetOverlayNode(MolaNode[ResetOverlayParams]):
    """Keeps one frame, and blends it with some of those that arrive."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(graph.RESET_OVERLAY_NODE, params_type=ResetOverlayParams, ending=ending)

    def configure(self, stack: ExitStack) -> None:
        """Read the site and the frame to begin with."""
        camera = self.params.camera
        cameras = load_site(Path(self.params.site)).cameras
        if camera not in cameras:
            raise ConfigError(f"the site has no camera {camera!r}; it has {', '.join(cameras)}")
        path = self.params.first_frame
        self._first = first_frame(Path(path), camera=camera) if path else None
        self._overlays = self.open_publisher(graph.RESET_OVERLAY, stack)

    def activate(self, stack: ExitStack) -> None:
        """Look, and answer."""
        self._newest: Image | None = None
        self._due_ns = 0
        self.open_subscription(graph.camera_topics(self.params.camera).color, self._on_frame, stack)
        self.open_service(graph.SHOW_FIRST_FRAME, self._on_show, stack)

    def _on_frame(self, message: Image) -> None:
        self._newest = message
        now_ns = self.system_clock.monotonic_ns()
        if self._first is None or now_ns < self._due_ns or not self._overlays.get_subscription_count():
            return
        self._due_ns = now_ns + round(NS_PER_S / self.params.rate_hz)
        overlay = blended(color_from_message(message), self._first)
        self._overlays.publish(color_image_message(overlay, header=message.header))

    def _on_show(self, request: ShowFirstFrame.Request, response: ShowFirstFrame.Response) -> ShowFirstFrame.Response:
        self._first = first_frame(Path(request.path), camera=self.params.camera) if request.path else None
        if request.save_to:
            self._save(Path(request.save_to))
        response.success = True
        response.message = f"shows {request.path} on {graph.RESET_OVERLAY.name}" if request.path else "shows nothing"
        return response

    def _save(self, path: Path) -> None:
        if self._newest is None:
            raise OverlayError(f"no frame of {self.params.camera!r} has arrived yet; is the camera up?")
        view = color_from_message(self._newest)
        write_png(path, view if self._first is None else blended(view, self._first))


def main() -> NoReturn:
    """Entry point of the executable."""
    run_node(ResetOverlayNode, urgent=False)
