"""Where ``rs.pipeline`` takes its device from: a connected camera, or a recorded file."""

from types import ModuleType
from typing import Any, Protocol

from mola_core.contracts.errors import CameraError
from mola_core.contracts.site import RealsenseCameraSpec, RecordedCameraSpec
from mola_core.contracts.types import StampDomain
from mola_drivers.camera.device_setup import find_device, set_up_sensors


class PipelineSource(Protocol):
    """What differs between a live device and a recorded one; everything else is the pipeline's."""

    warm_up_frames: int
    """Frames dropped after the start, while exposure and time mapping settle."""

    def find(self, rs: ModuleType) -> Any:
        """The device, found without starting anything.

        Raises:
            CameraError: absent, or not readable.
        """
        ...

    def configure(self, config: Any) -> None:
        """Select that device in an ``rs.config``."""
        ...

    def set_up(self, rs: ModuleType, device: Any) -> None:
        """Set options of the device that the pipeline is about to start.

        Raises:
            CameraError: an option that the site asks for cannot be set.
        """
        ...

    def ended(self, rs: ModuleType, device: Any) -> bool:
        """The recording has been read to its end; its last frames may still be on their way."""
        ...

    def stamp(self, *, captured_ns: int, mapped: bool, received_ns: int) -> tuple[int, StampDomain]:
        """The stamp of a frame. ``mapped``: the library has put ``captured_ns`` on the host's epoch."""
        ...


class LiveSource:
    """A connected camera, by serial number."""

    warm_up_frames = 15

    def __init__(self, spec: RealsenseCameraSpec) -> None:
        self._spec = spec

    def find(self, rs: ModuleType) -> Any:
        return find_device(rs, serial=self._spec.serial)

    def configure(self, config: Any) -> None:
        config.enable_device(self._spec.serial)

    def set_up(self, rs: ModuleType, device: Any) -> None:
        set_up_sensors(rs, device, spec=self._spec)

    def ended(self, rs: ModuleType, device: Any) -> bool:  # noqa: ARG002 (a live camera has no end)
        return False

    def stamp(self, *, captured_ns: int, mapped: bool, received_ns: int) -> tuple[int, StampDomain]:
        if mapped:
            # the mapping is a running estimate: nothing is captured after it has arrived
            return min(captured_ns, received_ns), StampDomain.HOST_EPOCH
        return received_ns, StampDomain.HOST_RECEIVE


class RecordedSource:
    """A ``.db3`` or ``.bag`` file of librealsense.

    Played once, frames keep the stamps of the recording. Repeated, the file stands in for a live camera and its frames
    are stamped on arrival.

    Of the library's player, seen on a busy machine: of two sensors it plays to the first while it is still starting the
    second, so the beginning may be lost; and now and then a repetition stalls for some 10 s.
    """

    warm_up_frames = 0

    def __init__(self, spec: RecordedCameraSpec, *, real_time: bool = True) -> None:
        self._spec = spec
        self._real_time = real_time

    def find(self, rs: ModuleType) -> Any:
        path = self._spec.path
        if not path.is_file():
            raise CameraError(f"recording {path} does not exist; correct the camera's path in the site file")
        try:
            return rs.context().load_device(str(path))
        except RuntimeError as error:
            raise CameraError(f"recording {path} cannot be played ({error}); is it complete?") from error

    def configure(self, config: Any) -> None:
        config.enable_device_from_file(str(self._spec.path), repeat_playback=self._spec.repeat)

    def set_up(self, rs: ModuleType, device: Any) -> None:  # noqa: ARG002 (same signature as the live source)
        device.as_playback().set_real_time(self._real_time)

    def ended(self, rs: ModuleType, device: Any) -> bool:
        # repeated, the player stops for a moment at the end of every round
        return not self._spec.repeat and device.as_playback().current_status() == rs.playback_status.stopped

    def stamp(self, *, captured_ns: int, mapped: bool, received_ns: int) -> tuple[int, StampDomain]:
        if self._spec.repeat:
            return received_ns, StampDomain.HOST_RECEIVE
        return captured_ns, StampDomain.HOST_EPOCH if mapped else StampDomain.HOST_RECEIVE
