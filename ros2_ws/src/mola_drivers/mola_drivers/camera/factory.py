"""From the site file's words to a camera."""

from mola_core.contracts.clock import Clock
from mola_core.contracts.site import CameraSpec, RealsenseCameraSpec, RecordedCameraSpec
from mola_drivers.camera.pipeline_source import LiveSource, PipelineSource, RecordedSource
from mola_drivers.camera.protocol import Camera
from mola_drivers.camera.realsense import RealsenseCamera
from mola_drivers.camera.stream import CameraStream
from mola_drivers.camera.twin_camera import TwinCamera


def make_camera(*, name: str, spec: CameraSpec, clock: Clock) -> Camera:
    """A closed camera for ``spec``; touches nothing."""
    source: PipelineSource
    if isinstance(spec, RealsenseCameraSpec):
        source = LiveSource(spec)
    elif isinstance(spec, RecordedCameraSpec):
        source = RecordedSource(spec)
    else:
        return TwinCamera(name=name, spec=spec, clock=clock)
    return RealsenseCamera(name=name, spec=spec, source=source, clock=clock)


def make_camera_stream(*, name: str, spec: CameraSpec, clock: Clock) -> CameraStream:
    """A stream over such a camera that reconnects by itself; touches nothing."""
    return CameraStream(
        open_camera=lambda: make_camera(name=name, spec=spec, clock=clock),
        frame_timeout_ms=spec.frame_timeout_ms,
        clock=clock,
    )
