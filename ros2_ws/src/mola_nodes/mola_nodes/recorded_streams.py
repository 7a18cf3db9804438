"""What the recorder takes from the graph of a site, and what an episode then says of itself."""

from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_share_path
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy

from mola_core.cli.report import git_state
from mola_core.contracts.geometry import pose_from_transform
from mola_core.contracts.io_spec import DataContract
from mola_core.contracts.site import CameraSpec, RealsenseCameraSpec, Site
from mola_core.data.episodes.definitions import Definitions
from mola_core.data.episodes.meta import CameraStreams, EpisodeMeta, EpisodeStreams, Pose6, SoftwareState
from mola_core.data.episodes.rosbag2 import Qos, RecordedTopic
from mola_core.data.episodes.session import EpisodeRequest, RecordedStream
from mola_core.data.episodes.watch import LEAST_SHARE, StreamExpectation
from mola_nodes import graph
from mola_nodes.graph import Topic
from mola_nodes.state_publisher import RATE_HZ

_PATIENT_DEPTH = 60
"""Two seconds of camera frames: a recorder that is held up for so long loses none."""
_CDR_HEADER = 4
_STATES = (graph.ROBOT_STATE.name, graph.COMMANDED.name)
_STATES_SHARE = 0.5
"""States come twice as often as frames, and are interpolated: half of them still serve."""


def recorded_streams(site: Site) -> list[RecordedStream]:
    """Every topic of the graph, with its definition, and what is expected of it.

    Raises:
        EpisodeError: a definition is not installed.
    """
    definitions, expected = Definitions(_share), _expected_rates(site)
    return [
        RecordedStream(
            topic=RecordedTopic(topic.name, definitions.of(type_name(topic)), _qos(topic.qos)),
            expectation=StreamExpectation(
                topic=topic.name,
                expected_hz=expected.get(topic.name, 0.0),
                least_share=_STATES_SHARE if topic.name in _STATES else LEAST_SHARE,
                stamp_offset=stamp_offset(topic.type),
                is_numbered=graph.is_published_once(topic, roles=site.cameras),
            ),
            is_latched=_is_latched(topic),
        )
        for topic in graph.recorded_topics(roles=site.cameras)
    ]


def patient(topic: Topic) -> Topic:
    """``topic`` with room for a recorder that is held up; latched ones as they are."""
    if _is_latched(topic):
        return topic
    qos = QoSProfile(depth=max(_PATIENT_DEPTH, topic.qos.depth), reliability=topic.qos.reliability)
    return replace(topic, qos=qos)


def type_name(topic: Topic) -> str:
    """E.g. ``sensor_msgs/msg/Image``."""
    return f"{topic.type.__module__.partition('.')[0]}/msg/{topic.type.__name__}"


def stamp_offset(message_type: Any) -> int | None:
    """Where the stamp lies in the bytes of a message that begins with a header, a stamp, or a version and a stamp."""
    fields: Sequence[str] = list(message_type.get_fields_and_field_types().values())
    if fields[:1] in (["std_msgs/Header"], ["builtin_interfaces/Time"]):
        return _CDR_HEADER
    return _CDR_HEADER + 4 if fields[:2] == ["uint32", "builtin_interfaces/Time"] else None


class EpisodeDescriber:
    """Makes ``episode.json``; asks git once, because the software does not change under a running node."""

    def __init__(self, site: Site, *, period_ns: int) -> None:
        self._site = site
        self._contract = DataContract(cameras=tuple(site.cameras), period_ns=period_ns)
        state = git_state()
        self._software = SoftwareState(version=version("mola-core"), commit=state["commit"], dirty=state["dirty"])

    def __call__(self, episode_id: str, request: EpisodeRequest, now_ns: int) -> EpisodeMeta:
        """Of an episode that begins now."""
        return EpisodeMeta(
            episode_id=episode_id,
            instruction=request.instruction,
            operator=request.operator,
            task=request.task,
            started_ns=now_ns,
            contract=self._contract,
            contract_hash=self._contract.hash,
            site_name=self._site.name,
            site=self._site.model_dump(mode="json"),
            streams=EpisodeStreams(
                robot_state=graph.ROBOT_STATE.name,
                commanded=graph.COMMANDED.name,
                action_chunk=graph.ACTION_CHUNK.name,
                cameras={role: _camera_streams(role, spec) for role, spec in self._site.cameras.items()},
            ),
            software=self._software,
        )


def _camera_streams(role: str, spec: CameraSpec) -> CameraStreams:
    topics = graph.camera_topics(role)
    x, y, z, rx, ry, rz = (float(value) for value in pose_from_transform(spec.parent_from_camera))
    pose: Pose6 = (x, y, z, rx, ry, rz)
    return CameraStreams(
        color=topics.color.name,
        color_info=topics.color_info.name,
        metadata=topics.color_metadata.name,
        depth=topics.depth.name,
        depth_info=topics.depth_info.name,
        mount=topics.mount.name,
        model=spec.model,
        serial=spec.serial if isinstance(spec, RealsenseCameraSpec) else "",
        mounted_on="base" if spec.base_from_camera is not None else "tcp",
        parent_from_camera=pose,
        rate_hz=float(spec.fps),
    )


def _expected_rates(site: Site) -> dict[str, float]:
    rates = {graph.ROBOT_STATE.name: RATE_HZ, graph.COMMANDED.name: RATE_HZ}
    for role, spec in site.cameras.items():
        topics = graph.camera_topics(role)
        with_each_frame = (
            topics.color,
            topics.color_info,
            topics.color_metadata,
            *([topics.depth] if spec.depth else []),
        )
        rates |= {topic.name: float(spec.fps) for topic in with_each_frame}
    return rates


def _is_latched(topic: Topic) -> bool:
    return bool(topic.qos.durability == QoSDurabilityPolicy.TRANSIENT_LOCAL)


def _qos(qos: QoSProfile) -> Qos:
    return Qos(
        depth=qos.depth,
        reliability="reliable" if qos.reliability == QoSReliabilityPolicy.RELIABLE else "best_effort",
        durability="transient_local" if qos.durability == QoSDurabilityPolicy.TRANSIENT_LOCAL else "volatile",
    )


def _share(package: str) -> Path:
    try:
        return Path(get_package_share_path(package))
    except PackageNotFoundError as error:
        raise LookupError(package) from error
