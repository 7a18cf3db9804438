"""One camera: its frames, calibration and health on the topics that realsense-ros uses.

Stamps are capture stamps. Nothing is published while nothing new arrives: an old frame is never sent again.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NoReturn

from mola_core.contracts.errors import CameraError, ConfigError
from mola_core.contracts.site import CameraSpec, load_site
from mola_core.contracts.types import Frame
from mola_drivers.camera.factory import make_camera_stream
from mola_nodes import graph
from mola_nodes.camera_publisher import CameraPublisher
from mola_nodes.camera_thread import CameraThread
from mola_nodes.diagnostics import ERROR, OK, diagnostic_array, diagnostic_status
from mola_nodes.lifecycle import MolaNode
from mola_nodes.params import Param, SiteParams
from mola_nodes.process import Ending, run_node

_LOST_EXIT_CODE = 3


@dataclass(frozen=True)
class CameraParams(SiteParams):
    """Parameters of a camera node."""

    camera: Annotated[str, Param("Role of the camera in the site file, e.g. third_person")]


class CameraNode(MolaNode[CameraParams]):
    """Wires a camera stream to its topics."""

    def __init__(self, ending: Ending) -> None:
        super().__init__("camera", params_type=CameraParams, ending=ending)

    def configure(self, stack: ExitStack) -> None:
        """Read the site and open the topics."""
        role = self.params.camera
        self._spec = _camera_spec(Path(self.params.site), role=role)
        self._publisher = CameraPublisher(self, role=role, stack=stack)
        self._diagnostics = self.open_publisher(graph.DIAGNOSTICS, stack)

    def activate(self, stack: ExitStack) -> None:
        """Open the camera and publish its frames."""
        # a fresh stream each time: it remembers the camera that it has opened
        self._stream = make_camera_stream(name=self.params.camera, spec=self._spec, clock=self.system_clock)
        thread = CameraThread(
            self._stream,
            on_frame=lambda frame: self._on_frame(frame, thread),
            on_lost=self._on_lost,
            on_bug=self.report_bug,
        )
        self._publisher.publish_mount(self._spec, stamp_ns=self.system_clock.now_ns())
        stack.enter_context(thread)
        self.open_timer(1.0, self._publish_health, stack)
        self.get_logger().info(f"{self.params.camera}: {thread.info.model} {thread.info.serial} is open")

    def _on_frame(self, frame: Frame, thread: CameraThread) -> None:
        self._publisher.publish(frame, thread.info)

    def _on_lost(self, error: CameraError) -> None:
        self.get_logger().fatal(f"{self.params.camera}: {error}; the process ends so that a fresh one can start")
        self.ending.request(exit_code=_LOST_EXIT_CODE)

    def _publish_health(self) -> None:
        health = self._stream.health
        status = diagnostic_status(
            name=f"camera: {self.params.camera}",
            level=OK if health.connected else ERROR,
            message="delivers frames" if health.connected else health.last_error or "not connected",
            values={
                "rate [Hz]": health.rate_hz,
                "frames": health.num_frames,
                "frames dropped by the device": health.num_dropped,
                "reconnects": health.num_reconnects,
                "last error": health.last_error,
            },
        )
        self._diagnostics.publish(diagnostic_array(status, stamp_ns=self.system_clock.now_ns()))


def _camera_spec(path: Path, *, role: str) -> CameraSpec:
    site = load_site(path)
    spec = site.cameras.get(role)
    if spec is None:
        raise ConfigError(f"site {site.name!r} has no camera {role!r}; it has {', '.join(sorted(site.cameras))}")
    return spec


def main() -> NoReturn:
    """Entry point of the executable."""
    run_node(CameraNode)
