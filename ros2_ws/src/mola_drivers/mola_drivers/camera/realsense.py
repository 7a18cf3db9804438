"""D455 and D405 through ``rs.pipeline``: live devices and recorded files differ only in their source."""

from dataclasses import dataclass
from types import ModuleType, TracebackType
from typing import Any, Self

import numpy as np
from jaxtyping import UInt16

from mola_core.contracts.clock import NS_PER_MS, Clock
from mola_core.contracts.errors import CameraError
from mola_core.contracts.geometry import Transform
from mola_core.contracts.site import CameraStreamSpec
from mola_core.contracts.types import CameraInfo, CameraIntrinsics, Frame
from mola_drivers.bounded import run_bounded
from mola_drivers.camera.depth import depth_in_mm
from mola_drivers.camera.device_setup import check_device
from mola_drivers.camera.librealsense import load_librealsense
from mola_drivers.camera.pipeline_source import PipelineSource
from mola_drivers.camera.protocol import CameraHungError, EndOfRecordingError

_FIRST_FRAME_MS = 5000
_STOP_S = 3.0
_SLICE_MS = 100
"""The library does not wake a waiter when a recording ends."""
_LAST_FRAMES_MS = 500


@dataclass(frozen=True, slots=True)
class _Session:
    """librealsense's objects while the camera is open."""

    rs: ModuleType
    pipeline: Any
    device: Any
    align: Any
    info: CameraInfo


class RealsenseCamera:
    """A D455 or D405 behind :class:`mola_drivers.camera.protocol.Camera`."""

    def __init__(self, *, name: str, spec: CameraStreamSpec, source: PipelineSource, clock: Clock) -> None:
        self._name = name
        self._spec = spec
        self._source = source
        self._clock = clock
        self._session: _Session | None = None
        self._last_stamp_ns = 0
        self._last_sequence = -1

    def __enter__(self) -> Self:
        self._session = self._start(load_librealsense())
        self._last_stamp_ns, self._last_sequence = 0, -1
        try:
            for _ in range(self._source.warm_up_frames):
                self.read(timeout_ms=_FIRST_FRAME_MS)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    @property
    def info(self) -> CameraInfo:
        return self._running().info

    def read(self, *, timeout_ms: int) -> Frame:
        deadline_ns = self._clock.monotonic_ns() + timeout_ms * NS_PER_MS
        while (remaining_ns := deadline_ns - self._clock.monotonic_ns()) > 0:
            frame = self._next(timeout_ms=max(1, min(_SLICE_MS, remaining_ns // NS_PER_MS)))
            if frame is not None:
                return frame
        raise CameraError(f"camera {self._name!r} delivered nothing new for {timeout_ms} ms; check cable and USB port")

    def _running(self) -> _Session:
        if self._session is None:
            raise CameraError(f"camera {self._name!r} is not open")
        return self._session

    def _start(self, rs: ModuleType) -> _Session:
        spec = self._spec
        check_device(rs, self._source.find(rs), spec=spec)
        config = rs.config()
        self._source.configure(config)
        config.enable_stream(rs.stream.color, spec.width, spec.height, rs.format.rgb8, spec.fps)
        if spec.depth:
            config.enable_stream(rs.stream.depth, spec.width, spec.height, rs.format.z16, spec.fps)
        pipeline = rs.pipeline()
        try:
            # options are set on the device that the pipeline has chosen but not yet started
            self._source.set_up(rs, config.resolve(rs.pipeline_wrapper(pipeline)).get_device())
            profile = pipeline.start(config)
        except RuntimeError as error:
            raise CameraError(
                f"camera {self._name!r} does not start ({error}); is another program using it?"
            ) from error
        info = _read_info(rs, profile, name=self._name, depth=spec.depth)
        return _Session(rs, pipeline, profile.get_device(), rs.align(rs.stream.color), info)

    def _next(self, *, timeout_ms: int) -> Frame | None:
        """The next frame of the pipeline; None where what came, if anything, is no new, complete frame."""
        session = self._running()
        frames = self._wait(session, timeout_ms=timeout_ms)
        if frames is None and self._source.ended(session.rs, session.device):
            frames = self._wait(session, timeout_ms=_LAST_FRAMES_MS)
            if frames is None:
                raise EndOfRecordingError(f"camera {self._name!r}: the recording is over; set repeat to play it again")
        received_ns = self._clock.now_ns()
        if frames is None:
            return None
        color = frames.get_color_frame()
        if not color or (self._spec.depth and not self._depth_matches(frames, color)):
            return None
        stamp_ns, domain = self._source.stamp(
            captured_ns=round(color.get_timestamp() * NS_PER_MS),
            mapped=color.get_frame_timestamp_domain() == session.rs.timestamp_domain.global_time,
            received_ns=received_ns,
        )
        sequence = int(color.get_frame_number())
        if stamp_ns <= self._last_stamp_ns or sequence == self._last_sequence:
            return None
        self._last_stamp_ns, self._last_sequence = stamp_ns, sequence
        return Frame(
            stamp_ns=stamp_ns,
            stamp_domain=domain,
            received_ns=received_ns,
            sequence=sequence,
            color=np.asanyarray(color.get_data()).copy(),  # the library reuses its buffers
            depth=_aligned_depth(session, frames) if self._spec.depth else None,
        )

    def _wait(self, session: _Session, *, timeout_ms: int) -> Any | None:
        """The next set of frames that arrives within ``timeout_ms``, if any. Releases the GIL."""
        try:
            arrived, frames = session.pipeline.try_wait_for_frames(timeout_ms)
        except RuntimeError as error:
            raise CameraError(f"camera {self._name!r} is lost ({error}); check cable and USB port") from error
        return frames if arrived else None

    def _depth_matches(self, frames: Any, color: Any) -> bool:
        """Depth is there and within half a period of colour; the library's syncer lets up to a period pass."""
        depth = frames.get_depth_frame()
        if not depth or depth.get_frame_timestamp_domain() != color.get_frame_timestamp_domain():
            return False
        skew_ms = abs(depth.get_timestamp() - color.get_timestamp())
        return bool(skew_ms <= 500.0 / self._spec.fps)

    def _close(self) -> None:
        session, self._session = self._session, None
        if session is None:
            return
        try:
            run_bounded(session.pipeline.stop, timeout_s=_STOP_S)
        except TimeoutError as error:
            raise CameraHungError(
                f"{session.info.model} {session.info.serial} did not stop within {_STOP_S:g} s; "
                "end this process and start it again"
            ) from error


def _aligned_depth(session: _Session, frames: Any) -> UInt16[np.ndarray, "height width"]:
    depth = session.align.process(frames).get_depth_frame()
    return depth_in_mm(np.asanyarray(depth.get_data()), depth_unit_m=session.info.depth_unit_m)


def _read_info(rs: ModuleType, profile: Any, *, name: str, depth: bool) -> CameraInfo:
    device = profile.get_device()
    color_profile = profile.get_stream(rs.stream.color).as_video_stream_profile()
    depth_intrinsics, color_from_depth, depth_unit_m = None, np.eye(4), 0.0
    if depth:
        depth_profile = profile.get_stream(rs.stream.depth).as_video_stream_profile()
        depth_intrinsics = _intrinsics(depth_profile.get_intrinsics())
        color_from_depth = _transform(depth_profile.get_extrinsics_to(color_profile))
        depth_unit_m = float(device.first_depth_sensor().get_depth_scale())
    return CameraInfo(
        name=name,
        model=device.get_info(rs.camera_info.name),
        serial=device.get_info(rs.camera_info.serial_number),
        color=_intrinsics(color_profile.get_intrinsics()),
        depth=depth_intrinsics,
        color_from_depth=color_from_depth,
        depth_unit_m=depth_unit_m,
    )


def _intrinsics(intrinsics: Any) -> CameraIntrinsics:
    k1, k2, p1, p2, k3 = (float(value) for value in intrinsics.coeffs)
    return CameraIntrinsics(
        width=intrinsics.width,
        height=intrinsics.height,
        fx=intrinsics.fx,
        fy=intrinsics.fy,
        cx=intrinsics.ppx,
        cy=intrinsics.ppy,
        distortion=(k1, k2, p1, p2, k3),
    )


def _transform(extrinsics: Any) -> Transform:
    transform = np.eye(4)
    transform[:3, :3] = np.reshape(extrinsics.rotation, (3, 3)).T  # librealsense stores columns
    transform[:3, 3] = extrinsics.translation
    return transform
