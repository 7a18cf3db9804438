"""What a recording in rerun's viewer shows, whoever feeds it: an episode, a dataset, or the live graph.

The arm's links and joints are named frames below ``base``; everything else hangs below the entity ``world``, which is the same place.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import rerun as rr
import rerun.blueprint as rrb
from jaxtyping import Float, UInt8, UInt16
from rerun.urdf import UrdfTree

from mola_core.contracts.clock import NS_PER_S
from mola_core.contracts.geometry import Pose, Transform, quaternion_from_rotation, transform_from_pose
from mola_core.contracts.types import JOINT_NAMES, CameraIntrinsics, Joints
from mola_core.control.kinematics import forward_kinematics
from mola_core.viewing.urdf import FINGER_JOINTS, FINGER_TRAVEL, ROOT_LINK, ur5e_urdf

TIMELINE = "time"
_JPEG_QUALITY = 85
_TRAIL_S = 4.0
_EYE, _LOOK_AT = (-1.2, -0.8, 0.7), (-0.3, 0.0, 0.2)
"""With the shoulder pan near zero the arm reaches towards -x."""
_EPOCH_FROM_NS = 10**17
"""Smaller stamps are not host time but a simulation's, and are shown as durations."""
_MEASURED, _COMMANDED, _PLANNED = (80, 170, 255), (255, 160, 40), (130, 220, 90)


class Stage:
    """Feed it in ascending order of :meth:`at`."""

    def __init__(
        self, recording: rr.RecordingStream, *, tcp_offset: Pose, gripper: bool, cameras: Sequence[str]
    ) -> None:
        """``tcp_offset`` is ``flange_from_tcp``; cameras are shown in the order given."""
        self._recording = recording
        self._tcp_offset = tcp_offset
        self._cameras = tuple(cameras)
        self._trails: dict[str, np.ndarray] = {}
        self._arm = self._draw_arm(gripper=gripper)
        recording.send_blueprint(_blueprint(self._cameras))

    def _draw_arm(self, *, gripper: bool) -> UrdfTree:
        x, y, z, rx, ry, rz = (float(value) for value in self._tcp_offset)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "ur5e.urdf"
            path.write_text(ur5e_urdf(tcp_offset=(x, y, z, rx, ry, rz), gripper=gripper), encoding="utf-8")
            arm = UrdfTree.from_file_path(path, "arm", static_transform_entity_path="arm/fixed")
        self._recording.log("world", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
        root = rr.Transform3D(parent_frame="tf#/world", child_frame=ROOT_LINK)
        self._recording.log("arm/root", root, static=True)
        arm.log_urdf_to_recording(self._recording)
        fingers = {name.removesuffix("_joint") for name in FINGER_JOINTS}
        for name in (ROOT_LINK, *(joint.child_link for joint in arm.joints())):
            link = arm.get_link_by_name(name)
            shape = rr.Boxes3D if name in fingers else rr.Cylinders3D
            for entity in () if link is None else arm.get_visual_geometry_paths(link):
                self._recording.log(entity, shape.from_fields(fill_mode="solid"), static=True)
        return arm

    def place_camera(
        self, camera: str, *, intrinsics: CameraIntrinsics, on_tcp: bool, parent_from_camera: Transform
    ) -> None:
        """Where a camera looks from: fixed in the base frame, or carried by the TCP."""
        entity = self._camera_entity(camera, on_tcp=on_tcp)
        self._recording.log(entity, _transform(parent_from_camera), static=True)
        pinhole = rr.Pinhole(
            focal_length=(intrinsics.fx, intrinsics.fy),
            principal_point=(intrinsics.cx, intrinsics.cy),
            width=intrinsics.width,
            height=intrinsics.height,
            camera_xyz=rr.ViewCoordinates.RDF,
            image_plane_distance=0.12,
        )
        self._recording.log(entity, pinhole, static=True)

    @staticmethod
    def _camera_entity(camera: str, *, on_tcp: bool) -> str:
        return f"world/tcp/{camera}" if on_tcp else f"world/{camera}"

    def at(self, stamp_ns: int) -> None:
        """Everything that follows happened then."""
        if stamp_ns >= _EPOCH_FROM_NS:
            self._recording.set_time(TIMELINE, timestamp=np.datetime64(stamp_ns, "ns"))
        else:
            self._recording.set_time(TIMELINE, duration=stamp_ns / NS_PER_S)

    def frame(self, camera: str, color: UInt8[np.ndarray, "height width 3"]) -> None:
        """A picture of one camera, RGB."""
        done, jpeg = cv2.imencode(
            ".jpg", cv2.cvtColor(color, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        )
        assert done  # noqa: S101  # a picture of 8-bit colours can be encoded
        self._recording.log(f"cameras/{camera}", rr.EncodedImage(contents=jpeg.tobytes(), media_type="image/jpeg"))

    def depth(self, camera: str, depth: UInt16[np.ndarray, "height width"], *, on_tcp: bool) -> None:
        """Depth in millimetres, as a cloud of points in space."""
        entity = self._camera_entity(camera, on_tcp=on_tcp)
        self._recording.log(entity, rr.DepthImage(depth, meter=1000.0, point_fill_ratio=0.6))

    def state(self, joint_positions: Joints, base_from_tcp: Pose, gripper_opening: float | None) -> None:
        """The arm as measured."""
        angles = dict(zip(JOINT_NAMES, joint_positions, strict=True))
        if gripper_opening is not None:
            angles |= dict.fromkeys(FINGER_JOINTS, np.float64(np.clip(gripper_opening, 0, 1) * FINGER_TRAVEL))
            self.series("gripper/measured", gripper_opening)
        for name, position in zip(JOINT_NAMES, joint_positions, strict=True):
            self.series(f"joints/{name.removesuffix('_joint')}", position)
        for name, angle in angles.items():
            joint = self._arm.get_joint_by_name(name)
            if joint is not None:  # no fingers without a gripper
                self._recording.log(f"arm/joints/{name}", joint.compute_transform(float(angle)))
        self._recording.log("world/tcp", _transform(transform_from_pose(base_from_tcp)))
        self._trail("world/path/measured", base_from_tcp, colour=_MEASURED)

    def commanded(self, base_from_tcp: Pose, gripper_opening: float | None) -> None:
        """What the servo asked for."""
        self._trail("world/path/commanded", base_from_tcp, colour=_COMMANDED)
        if gripper_opening is not None:
            self.series("gripper/commanded", gripper_opening)

    def plan(self, poses: Float[np.ndarray, "rows 6"], gripper_openings: Float[np.ndarray, "rows"]) -> None:
        """A chunk: where it would take the TCP; thick where the gripper is to be open."""
        radii = 0.0015 + 0.003 * np.clip(gripper_openings, 0, 1)
        self._recording.log(
            "world/plan",
            rr.LineStrips3D([poses[:, :3]], colors=[_PLANNED], radii=0.0015),
            rr.Points3D.from_fields(positions=poses[:, :3], colors=[_PLANNED] * len(poses), radii=radii),
        )

    def joint_plan(self, targets: Float[np.ndarray, "rows 6"], gripper_openings: Float[np.ndarray, "rows"]) -> None:
        """The same of a chunk of joint positions."""
        points = [forward_kinematics(row, self._tcp_offset.tolist())[:3, 3] for row in targets]
        self.plan(np.hstack([np.stack(points), np.zeros((len(points), 3))]), gripper_openings)

    def series(self, entity: str, value: float) -> None:
        """A number over time, below ``gripper``, ``latency`` or ``joints``."""
        self._recording.log(entity, rr.Scalars(float(value)))

    def note(self, text: str) -> None:
        """A line of text, e.g. who moves the arm now."""
        self._recording.log("notes", rr.TextLog(text))

    def _trail(self, entity: str, base_from_tcp: Pose, *, colour: tuple[int, int, int]) -> None:
        """One more piece of a path; the view keeps the pieces of the last seconds."""
        point = base_from_tcp[:3]
        before = self._trails.get(entity, point)
        self._trails[entity] = point
        self._recording.log(entity, rr.LineStrips3D([[before, point]], colors=[colour], radii=0.002))


def _transform(parent_from_child: Transform) -> rr.Transform3D:
    return rr.Transform3D(
        translation=parent_from_child[:3, 3],
        quaternion=rr.Quaternion(xyzw=quaternion_from_rotation(parent_from_child[:3, :3])),
    )


def _blueprint(cameras: Sequence[str]) -> rrb.Blueprint:
    trail = rrb.VisibleTimeRanges(
        timeline=TIMELINE,
        start=rrb.TimeRangeBoundary.cursor_relative(seconds=-_TRAIL_S),
        end=rrb.TimeRangeBoundary.cursor_relative(),
    )
    space = rrb.Spatial3DView(
        name="arm",
        origin="world",
        contents=["/world/**", "/arm/**"],
        eye_controls=rrb.EyeControls3D(position=_EYE, look_target=_LOOK_AT, eye_up=(0.0, 0.0, 1.0)),
        overrides={"world/path/measured": trail, "world/path/commanded": trail},
    )
    pictures = [rrb.Spatial2DView(name=camera, origin=f"cameras/{camera}") for camera in cameras]
    numbers = [rrb.TimeSeriesView(name=name, origin=name) for name in ("gripper", "joints", "latency")]
    return rrb.Blueprint(
        rrb.Vertical(
            rrb.Horizontal(space, rrb.Vertical(*pictures), column_shares=[3, 2]),
            rrb.Horizontal(*numbers, rrb.TextLogView(name="notes", origin="notes")),
            row_shares=[3, 1],
        ),
        rrb.BlueprintPanel(state="collapsed"),
        rrb.SelectionPanel(state="collapsed"),
        rrb.TimePanel(state="collapsed"),
    )
