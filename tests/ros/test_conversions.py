"""What goes over the wire comes back the same, and what contradicts itself does not pass."""

from dataclasses import fields, replace

import numpy as np
import pytest
from mola_interfaces.msg import ActionChunk as ActionChunkMsg
from mola_interfaces.msg import HalfStatus, Tensor
from mola_interfaces.msg import RobotState as RobotStateMsg
from rclpy.serialization import deserialize_message, serialize_message

from mola_core.contracts.errors import ChunkRejectedError
from mola_core.contracts.geometry import transform_from_pose
from mola_core.contracts.types import (
    ActionChunk,
    ActionSpace,
    CameraIntrinsics,
    CommandedState,
    Frame,
    RobotMode,
    RobotState,
    SafetyMode,
    StampDomain,
)
from mola_nodes.conversions import bundles, images, motion, tensors, wire
from mola_nodes.conversions.wire import MessageError

NOW_NS = 1_700_000_000_123_456_789
RANDOM = np.random.default_rng(7)

CHUNK = ActionChunk(
    sequence=2**40,
    source="scripted",
    bundle_id="",
    stamp_ns=NOW_NS,
    alive_stamp_ns=NOW_NS + 5,
    start_ns=NOW_NS + 10_000_000,
    period_ns=33_333_333,
    space=ActionSpace.TCP,
    targets=RANDOM.normal(size=(8, 6)),
    gripper_openings=RANDOM.uniform(size=8),
    execute_steps=4,
    final=True,
)
STATE = RobotState(
    stamp_ns=NOW_NS,
    joint_positions=RANDOM.normal(size=6),
    joint_velocities=RANDOM.normal(size=6),
    base_from_tcp=RANDOM.normal(size=6),
    gripper_opening=0.25,
    robot_mode=RobotMode.RUNNING,
    safety_mode=SafetyMode.NORMAL,
    speed_scaling=0.5,
)
COMMANDED = CommandedState(
    stamp_ns=NOW_NS,
    joint_positions=RANDOM.normal(size=6),
    base_from_tcp=RANDOM.normal(size=6),
    gripper_opening=0.75,
    source="scripted",
    chunk_sequence=2**40,
    bundle_id="v7",
)
FRAME = Frame(
    stamp_ns=NOW_NS,
    stamp_domain=StampDomain.HOST_EPOCH,
    received_ns=NOW_NS + 7,
    sequence=3,
    color=RANDOM.integers(0, 256, size=(48, 64, 3), dtype=np.uint8),
    depth=RANDOM.integers(0, 65536, size=(48, 64), dtype=np.uint16),
)


def over_the_wire(message: object) -> object:
    return deserialize_message(serialize_message(message), type(message))


def assert_same(got: object, wanted: object) -> None:
    for field in fields(wanted):  # type: ignore[arg-type]
        np.testing.assert_array_equal(getattr(got, field.name), getattr(wanted, field.name), err_msg=field.name)


@pytest.mark.parametrize("space", ActionSpace)
def test_chunk_survives_the_wire(space: ActionSpace) -> None:
    chunk = replace(CHUNK, space=space)
    assert_same(motion.chunk_from_message(over_the_wire(motion.message_from_chunk(chunk))), chunk)


@pytest.mark.parametrize("opening", [0.25, None])
def test_robot_state_survives_the_wire(opening: float | None) -> None:
    state = replace(STATE, gripper_opening=opening)
    message = over_the_wire(motion.message_from_robot_state(state, sequence=4))
    assert message.sequence == 4
    assert_same(motion.robot_state_from_message(message), state)


@pytest.mark.parametrize("opening", [0.75, None])
def test_commanded_state_survives_the_wire(opening: float | None) -> None:
    commanded = replace(COMMANDED, gripper_opening=opening)
    message = over_the_wire(motion.message_from_commanded(commanded, sequence=4))
    assert message.sequence == 4
    assert_same(motion.commanded_from_message(message), commanded)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": 0}, "of version 0"),
        ({"base_from_tcp": [np.inf] * 6}, "base_from_tcp of a commanded state is not finite"),
    ],
)
def test_bad_commanded_state_is_refused(changes: dict[str, object], said: str) -> None:
    message = motion.message_from_commanded(COMMANDED, sequence=0)
    for field, value in changes.items():
        setattr(message, field, value)
    with pytest.raises(MessageError, match=said):
        motion.commanded_from_message(message)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("version", 2, "of version 2, this node speaks 1"),
        ("targets", [0.0] * 47, "targets holds 47 numbers, 48 expected"),
        ("gripper_openings", [0.0] * 9, "gripper_openings holds 9 numbers, 8 expected"),
        ("horizon", 2**32 - 1, "targets holds 48 numbers"),
        ("space", 9, "action space 9 is unknown"),
    ],
)
def test_contradictory_chunk_is_rejected(field: str, value: object, said: str) -> None:
    message = motion.message_from_chunk(CHUNK)
    setattr(message, field, value)
    with pytest.raises(ChunkRejectedError, match=said):
        motion.chunk_from_message(message)


def test_chunk_with_ragged_rows_is_not_sent() -> None:
    with pytest.raises(MessageError, match="beside 8 gripper openings"):
        motion.message_from_chunk(replace(CHUNK, targets=np.zeros((7, 6))))


@pytest.mark.parametrize("field", ["joint_positions", "joint_velocities", "base_from_tcp"])
def test_short_vector_is_not_sent(field: str) -> None:
    with pytest.raises(MessageError, match=rf"{field} has shape \(2,\)"):
        motion.message_from_robot_state(replace(STATE, **{field: np.zeros(2)}), sequence=0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": 0}, "of version 0"),
        ({"joint_positions": [np.nan] * 6}, "not finite"),
        ({"robot_mode": 42}, "42 is not a valid RobotMode"),
        ({"safety_mode": 0}, "0 is not a valid SafetyMode"),
    ],
)
def test_impossible_robot_state_is_rejected(changes: dict[str, object], said: str) -> None:
    message = motion.message_from_robot_state(STATE, sequence=0)
    for name, value in changes.items():
        setattr(message, name, value)
    with pytest.raises(MessageError, match=said):
        motion.robot_state_from_message(message)


def test_half_status_of_another_version_is_refused_by_the_name_of_its_half() -> None:
    message = HalfStatus(version=HalfStatus.VERSION + 1, half="actor")
    said = f"of version {HalfStatus.VERSION + 1} from the half 'actor', this node speaks {HalfStatus.VERSION}"
    with pytest.raises(MessageError, match=said):
        bundles.report_from_message(message)


def test_default_message_is_of_no_version() -> None:
    with pytest.raises(MessageError):
        wire.check_version(RobotStateMsg())
    with pytest.raises(ChunkRejectedError):
        motion.chunk_from_message(ActionChunkMsg())


def test_standard_messages_carry_the_same_numbers() -> None:
    joints, pose = motion.joint_state_message(STATE), motion.tcp_pose_message(STATE)
    np.testing.assert_array_equal(joints.position, STATE.joint_positions)
    assert joints.name[0] == "shoulder_pan_joint"
    assert pose.header.frame_id == "base"
    assert pose.pose.position.x == STATE.base_from_tcp[0]
    assert wire.ns_from_time(pose.header.stamp) == NOW_NS


def test_frame_survives_the_wire_bit_for_bit() -> None:
    color = over_the_wire(images.color_message(FRAME, frame_id="c"))
    depth = over_the_wire(images.depth_message(FRAME, frame_id="c"))
    np.testing.assert_array_equal(images.color_from_message(color), FRAME.color)
    np.testing.assert_array_equal(images.depth_from_message(depth), FRAME.depth)
    assert wire.ns_from_time(color.header.stamp) == FRAME.stamp_ns
    assert (color.encoding, depth.encoding) == ("rgb8", "16UC1")


def test_view_of_a_larger_image_is_sent_whole() -> None:
    view = FRAME.color[::2, 1:33]
    message = images.color_message(replace(FRAME, color=view), frame_id="c")
    np.testing.assert_array_equal(images.color_from_message(message), view)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("encoding", "bgr8", "'rgb8' expected"),
        ("height", 49, "image data holds"),
        ("step", 64, "rows have 64 bytes"),
    ],
)
def test_contradictory_image_is_rejected(field: str, value: object, said: str) -> None:
    message = images.color_message(FRAME, frame_id="c")
    setattr(message, field, value)
    with pytest.raises(MessageError, match=said):
        images.color_from_message(message)


def test_image_of_another_type_is_not_sent() -> None:
    with pytest.raises(MessageError, match="rgb8 image has shape"):
        images.color_message(replace(FRAME, color=FRAME.color.astype(np.float32)), frame_id="c")


def test_metadata_and_calibration_survive() -> None:
    assert images.capture_and_receive_ns(images.metadata_message(FRAME)) == (FRAME.stamp_ns, FRAME.received_ns)
    intrinsics = CameraIntrinsics(width=64, height=48, fx=50.0, fy=51.0, cx=32.5, cy=24.5, distortion=(1, 2, 3, 4, 5))
    message = images.camera_info_message(intrinsics, stamp_ns=NOW_NS, frame_id="c")
    assert images.intrinsics_from_message(over_the_wire(message)) == intrinsics
    message.k[0] = 0.0
    with pytest.raises(MessageError, match="no focal length"):
        images.intrinsics_from_message(message)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"stamp_ns": 1, "received_ns": "x", "stamp_domain": "host_epoch"}'])
def test_metadata_that_is_not_ours_is_rejected(text: str) -> None:
    with pytest.raises(MessageError):
        images.capture_and_receive_ns(images.String(data=text))


def test_mount_is_the_sites_pose() -> None:
    parent_from_camera = transform_from_pose(np.array([0.1, 0.2, 0.3, 0.0, 0.0, np.pi / 2]))
    message = images.mount_message(parent_from_camera, parent_frame="base", camera_frame="c", stamp_ns=NOW_NS)
    rotation = message.transform.rotation
    assert message.transform.translation.z == pytest.approx(0.3)
    assert (rotation.z, rotation.w) == pytest.approx((np.sqrt(0.5), np.sqrt(0.5)))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int32, np.uint8])
@pytest.mark.parametrize("shape", [(), (0,), (2, 3, 4)])
def test_tensor_survives_the_wire(dtype: type, shape: tuple[int, ...]) -> None:
    values = RANDOM.uniform(0, 100, size=shape).astype(dtype)
    values = np.asarray(values)
    message = over_the_wire(tensors.message_from_tensor(values, name="codes"))
    np.testing.assert_array_equal(tensors.tensor_from_message(message), values)


def test_tensor_that_its_data_does_not_fill_is_rejected() -> None:
    message = tensors.message_from_tensor(np.zeros((2, 3), np.float32), name="codes")
    message.shape = [2, 4]
    with pytest.raises(MessageError, match="data of tensor 'codes' holds 24 numbers, 32 expected"):
        tensors.tensor_from_message(message)
    with pytest.raises(MessageError, match="unknown dtype 77"):
        tensors.tensor_from_message(Tensor(name="codes", dtype=77))
    with pytest.raises(MessageError, match="float64"):
        tensors.message_from_tensor(np.zeros(3), name="codes")


@pytest.mark.parametrize("stamp_ns", [-1, 2**31 * 10**9])
def test_stamp_that_no_message_holds_is_refused(stamp_ns: int) -> None:
    with pytest.raises(MessageError, match="does not fit"):
        wire.time_from_ns(stamp_ns)
