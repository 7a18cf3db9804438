"""Small recorded episodes, written by an independent MCAP writer: what a recorder would leave, without ROS."""

import json
from pathlib import Path

import numpy as np
from mcap_ros2.writer import Writer

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S
from mola_core.contracts.io_spec import DataContract
from mola_core.data.episodes.meta import (
    CameraStreams,
    EpisodeMeta,
    EpisodeStreams,
    Outcome,
    SoftwareState,
)

CONTRACT = DataContract(cameras=("third_person", "wrist"), period_ns=100 * NS_PER_MS)
START_NS = 1_700_000_000 * NS_PER_S
SIZE = (32, 24)
MESSAGES = Path(__file__).resolve().parents[2] / "ros2_ws/src/mola_interfaces/msg"

_TIME = "int32 sec\nuint32 nanosec\n"
_RULE = "=" * 80 + "\n"
_TIMES = f"{_RULE}MSG: builtin_interfaces/Time\n{_TIME}{_RULE}MSG: builtin_interfaces/Duration\n{_TIME}"
_IMAGE = (
    "std_msgs/Header header\nuint32 height\nuint32 width\nstring encoding\nuint8 is_bigendian\nuint32 step\nuint8[] data\n"
    f"{_RULE}MSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n{_TIMES}"
)
_CAMERA_INFO = (
    "std_msgs/Header header\nuint32 height\nuint32 width\nstring distortion_model\nfloat64[] d\nfloat64[9] k\nfloat64[9] r\n"
    "float64[12] p\nuint32 binning_x\nuint32 binning_y\nsensor_msgs/RegionOfInterest roi\n"
    f"{_RULE}MSG: sensor_msgs/RegionOfInterest\nuint32 x_offset\nuint32 y_offset\nuint32 height\nuint32 width\nbool do_rectify\n"
    f"{_RULE}MSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n{_TIMES}"
)
STATE, COMMANDED, CHUNK, TELEOP = "/mola/robot_state", "/mola/commanded", "/mola/chunk", "/mola/teleop"


def camera_streams(name):
    topics = {key: f"/mola/{name}/{key}" for key in ("color", "color_info", "metadata", "depth", "depth_info")}
    return CameraStreams(
        **topics,
        mount=name,
        model="D405",
        serial="",
        mounted_on="tcp",
        parent_from_camera=(0.0, 0.0, 0.05, 0.0, 0.0, 0.0),
        rate_hz=30.0,
    )


def meta(episode_id, *, contract=CONTRACT, outcome=Outcome.SUCCESS, instruction="press the button", task=""):
    return EpisodeMeta(
        episode_id=episode_id,
        instruction=instruction,
        operator="tester",
        task=task,
        outcome=outcome,
        started_ns=START_NS,
        ended_ns=START_NS + NS_PER_S,
        ended_by="operator",
        contract=contract,
        contract_hash=contract.hash,
        site_name="test",
        site={"arm": {"tcp_offset": [0, 0, 0.163, 0, 0, 0]}, "gripper": {"kind": "robotiq_2f"}},
        streams=EpisodeStreams(
            robot_state=STATE,
            commanded=COMMANDED,
            action_chunk=CHUNK,
            cameras={name: camera_streams(name) for name in contract.cameras},
        ),
        software=SoftwareState(version="0", commit=None, dirty=None),
    )


def time(stamp_ns):
    return {"sec": stamp_ns // NS_PER_S, "nanosec": stamp_ns % NS_PER_S}


def picture(at_ms, size=SIZE):
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 4 + at_ms // 30, y * 5, np.full_like(x, (at_ms // 33) % 200)], axis=-1).astype(np.uint8)


def state_message(stamp_ns, at_ms):
    angle = at_ms / 1000
    return {
        "version": 1,
        "stamp": time(stamp_ns),
        "sequence": at_ms,
        "joint_positions": [angle, -1.0, 1.0, -1.5, -1.5, 0.0],
        "joint_velocities": [1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        "base_from_tcp": [0.3 + angle / 10, 0.1, 0.3, 0.0, 3.0, 0.1 * angle],
        "has_gripper_opening": True,
        "gripper_opening": 0.5,
        "robot_mode": 7,
        "safety_mode": 1,
        "speed_scaling": 1.0,
    }


def commanded_message(stamp_ns, at_ms, source):
    return {
        "version": 1,
        "stamp": time(stamp_ns),
        "sequence": at_ms,
        "joint_positions": [at_ms / 1000 + 0.01, -1.0, 1.0, -1.5, -1.5, 0.0],
        "base_from_tcp": [0.31 + at_ms / 10000, 0.1, 0.3, 0.0, 3.0, 0.1],
        "has_gripper_opening": True,
        "gripper_opening": float(at_ms % 400 < 200),
        "source": source,
        "chunk_sequence": 1,
        "bundle_id": "",
    }


def chunk_message(stamp_ns, at_ms):
    rows = 10
    joints = np.array([at_ms / 1000, -1.0, 1.0, -1.5, -1.5, 0.0]) + np.linspace(0, 0.1, rows)[:, None]
    return {
        "version": 1,
        "stamp": time(stamp_ns - 40 * NS_PER_MS),
        "alive_stamp": time(stamp_ns - 40 * NS_PER_MS),
        "start": time(stamp_ns),
        "period": time(50 * NS_PER_MS),
        "sequence": at_ms,
        "source": "teleop/spacemouse",
        "bundle_id": "",
        "space": 0,
        "horizon": rows,
        "targets": joints.ravel().tolist(),
        "gripper_openings": [1.0] * rows,
        "execute_steps": rows,
        "final": False,
    }


def image_message(stamp_ns, color):
    height, width = color.shape[:2]
    return {
        "header": {"stamp": time(stamp_ns), "frame_id": "camera"},
        "height": height,
        "width": width,
        "encoding": "rgb8",
        "is_bigendian": 0,
        "step": 3 * width,
        "data": color.tobytes(),
    }


def camera_info_message(stamp_ns, size):
    width, height = size
    focal = 0.7 * width
    roi = dict.fromkeys(("x_offset", "y_offset", "height", "width"), 0) | {"do_rectify": False}
    return {
        "header": {"stamp": time(stamp_ns), "frame_id": "camera"},
        "height": height,
        "width": width,
        "distortion_model": "plumb_bob",
        "d": [0.0] * 5,
        "k": [focal, 0.0, width / 2, 0.0, focal, height / 2, 0.0, 0.0, 1.0],
        "r": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        "p": [focal, 0.0, width / 2, 0.0, 0.0, focal, height / 2, 0.0, 0.0, 0.0, 1.0, 0.0],
        "binning_x": 0,
        "binning_y": 0,
        "roi": roi,
    }


def metadata_message(stamp_ns, sequence):
    content = {
        "stamp_ns": stamp_ns,
        "stamp_domain": "host_epoch",
        "received_ns": stamp_ns + 5 * NS_PER_MS,
        "sequence": sequence,
    }
    return {"data": json.dumps(content)}


def teleop_message(stamp_ns, *, takeover):
    blank = {
        "device": "spacemouse",
        "reason": "",
        "frame": "base",
        "gripper_opening": 0.0,
        "has_gripper_opening": False,
    }
    flags = {"alive": True, "enabled": True, "engaged": True, "speed_scale": 1.0, "speed_share": 1.0}
    return {"version": 1, "stamp": time(stamp_ns), "takeover": takeover} | blank | flags


def write_episode(
    store,
    episode_id="20261126-120000-0001",
    *,
    duration_ms=1500,
    motion_ms=(0, 10_000),
    hands_off=lambda at_ms: False,
    silent=lambda stream, at_ms: False,
    size=SIZE,
    takeover_ms=None,
    **about,
):
    """An episode folder: cameras at 30 Hz, states at 62.5 Hz; ``silent`` drops messages of a stream.

    Streams are jittered against each other, and arrive some milliseconds after their stamps.
    """
    folder = store / episode_id
    folder.mkdir(parents=True)
    about_it = meta(episode_id, **about)
    rng = np.random.default_rng(0)
    messages = []

    def add(topic, kind, stream, at_ms, make, delay_ms):
        if not silent(stream, at_ms):
            stamp_ns = START_NS + at_ms * NS_PER_MS + int(rng.integers(0, 2 * NS_PER_MS))
            messages.append((stamp_ns + delay_ms * NS_PER_MS, topic, kind, make(stamp_ns)))

    for at_ms in range(0, duration_ms, 16):
        moved = motion_ms[0] <= at_ms < motion_ms[1] and not hands_off(at_ms)
        source = "teleop/spacemouse" if moved else ""
        add(STATE, "mola_interfaces/msg/RobotState", "state", at_ms, lambda s, a=at_ms: state_message(s, a), 1)
        make = lambda s, a=at_ms, who=source: commanded_message(s, a, who)  # noqa: E731  # as those beside it
        add(COMMANDED, "mola_interfaces/msg/CommandedState", "commanded", at_ms, make, 1)
        if source and at_ms % 160 == 0:
            add(CHUNK, "mola_interfaces/msg/ActionChunk", "chunk", at_ms, lambda s, a=at_ms: chunk_message(s, a), 2)
        if takeover_ms is not None:
            taken = takeover_ms[0] <= at_ms < takeover_ms[1]
            make = lambda s, taken=taken: teleop_message(s, takeover=taken)  # noqa: E731
            add(TELEOP, "mola_interfaces/msg/TeleopStatus", "teleop", at_ms, make, 1)
    for camera, streams in about_it.streams.cameras.items():
        messages.append(
            (START_NS, streams.color_info, "sensor_msgs/msg/CameraInfo", camera_info_message(START_NS, size))
        )
        for sequence, at_ms in enumerate(range(3, duration_ms, 33)):
            if not silent(camera, at_ms):
                stamp_ns = START_NS + at_ms * NS_PER_MS + int(rng.integers(0, 2 * NS_PER_MS))
                arrived_ns = stamp_ns + 12 * NS_PER_MS
                color = image_message(stamp_ns, picture(at_ms, size))
                messages.append((arrived_ns, streams.color, "sensor_msgs/msg/Image", color))
                note = metadata_message(stamp_ns, sequence)
                messages.append((arrived_ns + 1, streams.metadata, "std_msgs/msg/String", note))
    _write_bag(folder / f"{episode_id}_0.mcap", sorted(messages, key=lambda one: one[0]))
    (folder / "episode.json").write_text(about_it.to_json())
    return folder


def _write_bag(path, messages):
    with path.open("wb") as file:
        writer = Writer(file)
        schemas = {
            "sensor_msgs/msg/Image": writer.register_msgdef("sensor_msgs/msg/Image", _IMAGE),
            "sensor_msgs/msg/CameraInfo": writer.register_msgdef("sensor_msgs/msg/CameraInfo", _CAMERA_INFO),
            "std_msgs/msg/String": writer.register_msgdef("std_msgs/msg/String", "string data\n"),
        }
        for name in ("RobotState", "CommandedState", "TeleopStatus", "ActionChunk"):
            text = (MESSAGES / f"{name}.msg").read_text() + _TIMES
            schemas[f"mola_interfaces/msg/{name}"] = writer.register_msgdef(f"mola_interfaces/msg/{name}", text)
        for sequence, (stamp_ns, topic, kind, message) in enumerate(messages):
            writer.write_message(
                topic, schemas[kind], message, log_time=stamp_ns, publish_time=stamp_ns, sequence=sequence
            )
        writer.finish()
