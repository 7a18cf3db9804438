"""A recorded episode on the stage: every stream at its own stamps."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import rerun
from pydantic import BaseModel, ValidationError

from mola_core.contracts.clock import NS_PER_MS
from mola_core.contracts.geometry import transform_from_pose
from mola_core.contracts.types import ActionChunk, ActionSpace, Frame
from mola_core.data.episodes import decoding
from mola_core.data.episodes.frames import FramePairing
from mola_core.data.episodes.meta import EpisodeError
from mola_core.data.episodes.reader import EpisodeReader, RecordedMessage
from mola_core.viewing.stage import Stage

_ARM_EVERY_NS = 30 * NS_PER_MS
"""States come at twice the rate of pictures; more than that nobody sees."""


def stage_of_episode(episode: EpisodeReader, recording: rerun.RecordingStream) -> Stage:
    """A stage with the tool of the site where it was recorded.

    Raises:
        EpisodeError: the site in it says nothing of the tool.
    """
    site = episode.meta.site
    try:
        arm, gripper = _Tool.model_validate(site["arm"]), _Gripper.model_validate(site["gripper"])
    except (KeyError, ValidationError) as error:
        raise EpisodeError(f"{episode.path}: the site in episode.json has no tool: {error}") from error
    return Stage(
        recording,
        tcp_offset=np.array(arm.tcp_offset),
        gripper=gripper.kind != "none",
        cameras=episode.meta.cameras,
    )


class _Tool(BaseModel):
    tcp_offset: tuple[float, float, float, float, float, float]


class _Gripper(BaseModel):
    kind: str


def show_episode(episode: EpisodeReader, stage: Stage, *, depth: bool) -> None:
    """Play all of it onto the stage.

    Raises:
        EpisodeError: the bag is damaged.
    """
    for camera, streams in episode.meta.streams.cameras.items():
        intrinsics = episode.intrinsics(camera)
        if intrinsics is not None:
            mount = transform_from_pose(np.array(streams.parent_from_camera))
            stage.place_camera(
                camera, intrinsics=intrinsics, on_tcp=streams.mounted_on == "tcp", parent_from_camera=mount
            )
    stage.at(episode.meta.started_ns)
    stage.note(f"{episode.meta.instruction} ({episode.meta.outcome}, {episode.meta.operator})")
    _Player(episode, stage, depth=depth).play()


class _Player:
    def __init__(self, episode: EpisodeReader, stage: Stage, *, depth: bool) -> None:
        self._episode, self._stage, self._depth = episode, stage, depth
        self._source = ""
        self._last_arm_ns = 0
        streams = episode.meta.streams
        self._on_tcp = {camera: one.mounted_on == "tcp" for camera, one in streams.cameras.items()}
        self._pairings = {camera: FramePairing(one) for camera, one in streams.cameras.items()}
        self._handlers: dict[str, Callable[[RecordedMessage], None]] = {
            streams.robot_state: self._state,
            streams.commanded: self._commanded,
            streams.action_chunk: self._chunk,
        }
        self._camera_of = {
            topic: camera
            for camera, one in streams.cameras.items()
            for topic in ((one.color, one.metadata, one.depth) if depth else (one.color, one.metadata))
        }

    def play(self) -> None:
        topics = [topic for topic in (*self._handlers, *self._camera_of) if topic in self._episode.streams]
        for recorded in self._episode.messages(*topics):
            if recorded.topic in self._camera_of:
                camera = self._camera_of[recorded.topic]
                frames = self._pairings[camera].add(recorded.topic, recorded.message, received_ns=recorded.received_ns)
                self._frames(camera, frames)
            else:
                self._handlers[recorded.topic](recorded)
        for camera, pairing in self._pairings.items():
            self._frames(camera, pairing.rest())

    def _frames(self, camera: str, frames: Iterator[Frame]) -> None:
        for frame in frames:
            self._stage.at(frame.stamp_ns)
            self._stage.frame(camera, frame.color)
            if self._depth and frame.depth is not None:
                self._stage.depth(camera, frame.depth, on_tcp=self._on_tcp[camera])
            self._stage.series(f"latency/{camera}_ms", (frame.received_ns - frame.stamp_ns) / NS_PER_MS)

    def _state(self, recorded: RecordedMessage) -> None:
        state = decoding.robot_state(recorded.message)
        if state.stamp_ns - self._last_arm_ns < _ARM_EVERY_NS:
            return
        self._last_arm_ns = state.stamp_ns
        self._stage.at(state.stamp_ns)
        self._stage.state(state.joint_positions, state.base_from_tcp, state.gripper_opening)

    def _commanded(self, recorded: RecordedMessage) -> None:
        commanded = decoding.commanded_state(recorded.message)
        self._stage.at(commanded.stamp_ns)
        self._stage.commanded(commanded.base_from_tcp, commanded.gripper_opening)
        if commanded.source != self._source:
            self._source = commanded.source
            self._stage.note(f"moved by {commanded.source}" if commanded.source else "nobody moves the arm")

    def _chunk(self, recorded: RecordedMessage) -> None:
        chunk = decoding.action_chunk(recorded.message)
        self._stage.at(recorded.received_ns)
        show_chunk(chunk, self._stage)
        self._stage.series("latency/plan_ms", (recorded.received_ns - chunk.stamp_ns) / NS_PER_MS)


def show_chunk(chunk: ActionChunk, stage: Stage) -> None:
    """Where a chunk would take the TCP."""
    show: Any = stage.plan if chunk.space is ActionSpace.TCP else stage.joint_plan
    show(chunk.targets, chunk.gripper_openings)
