"""What was commanded in one recorded episode, at even distances, and what is known of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from mola_core.contracts.clock import NS_PER_MS
from mola_core.contracts.io_spec import DataContract
from mola_core.contracts.types import ActionSpace, CommandedState, Joints
from mola_core.data.episodes import layout as episode_layout
from mola_core.data.episodes.meta import EpisodeError
from mola_core.data.episodes.reader import EpisodeReader
from mola_core.data.errors import DataError
from mola_core.data.lerobot import layout as dataset_layout
from mola_core.data.lerobot.reader import LeRobotReader

_EPISODE_PERIOD_NS = 20 * NS_PER_MS
_LONGEST_GAP_NS = 100 * NS_PER_MS
_JOINTS = 6


@dataclass(frozen=True, slots=True)
class Scene:
    """How the twin was set up; the same three words set it up the same."""

    task: str
    seed: int
    variant: str = "id"


@dataclass(frozen=True)
class Track:
    """Row ``i`` was commanded ``i`` periods after the first."""

    name: str
    """Which episode of what, for people."""
    instruction: str
    outcome: str
    """``success``, ``failure`` or ``unknown``, as recorded."""
    scene: Scene | None
    """None where the recording does not say."""
    contract: DataContract
    period_ns: int
    space: ActionSpace
    targets: Float[np.ndarray, "rows 6"]
    openings: Float[np.ndarray, "rows"]
    start_joints: Joints
    """Where the arm was when it began."""

    @property
    def duration_ns(self) -> int:
        """From the first row to the last."""
        return (len(self.targets) - 1) * self.period_ns


def load_track(path: Path, *, episode: int | None) -> Track:
    """Of an episode's folder, or of episode number ``episode`` of a dataset.

    Raises:
        DataError: neither, or damaged, or there is no such episode.
    """
    if (path / episode_layout.META_NAME).exists():
        return _of_episode(path)
    if (path / dataset_layout.INFO).exists():
        if episode is None:
            raise DataError(f"{path} is a dataset; say which episode with --episode")
        return _of_dataset(LeRobotReader(path), episode)
    raise DataError(f"{path} is neither an episode nor a dataset")


def _of_dataset(dataset: LeRobotReader, episode: int) -> Track:
    entry, rows = dataset.episode(episode), dataset.rows(episode)
    action = rows.action.astype(np.float64)
    return Track(
        name=f"episode {episode} of {dataset.path}",
        instruction=entry.instruction,
        outcome=str(entry.meta.get("outcome", "unknown")),
        scene=scene_of(entry.meta),
        contract=dataset.contract,
        period_ns=dataset.contract.period_ns,
        space=ActionSpace.TCP,
        targets=action[:, :6],
        openings=np.clip(action[:, 6], 0.0, 1.0),
        start_joints=rows.state[0, :_JOINTS].astype(np.float64),
    )


def _of_episode(path: Path) -> Track:
    with EpisodeReader(path) as episode:
        meta = episode.meta
        moved = _motion(list(episode.commanded()))
        if len(moved) < 2:
            raise EpisodeError(f"nothing moved the arm in {path}; there is nothing to replay")
        begin_ns = moved[0].stamp_ns
        start = next((state for state in episode.robot_states() if state.stamp_ns >= begin_ns), None)
    if start is None:
        raise EpisodeError(f"{path} has no robot state from when it began to move")
    targets, openings = _evenly(moved, path)
    return Track(
        name=f"episode {meta.episode_id}",
        instruction=meta.instruction,
        outcome=str(meta.outcome),
        scene=scene_of({"task": meta.task}),
        contract=meta.contract,
        period_ns=_EPISODE_PERIOD_NS,
        space=ActionSpace.JOINT,
        targets=targets,
        openings=openings,
        start_joints=start.joint_positions,
    )


def _motion(commanded: list[CommandedState]) -> list[CommandedState]:
    """From the first chunk executed to the last: before and after, the arm only holds. Pauses in between belong to it."""
    active = [at for at, one in enumerate(commanded) if one.source and one.gripper_opening is not None]
    return commanded[active[0] : active[-1] + 1] if active else []


def _evenly(commanded: Sequence[CommandedState], path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Joint targets interpolated, and openings held, at even distances."""
    stamps = np.array([one.stamp_ns for one in commanded])
    gaps = np.diff(stamps)
    if gaps.max() > _LONGEST_GAP_NS:
        at_s = (stamps[int(gaps.argmax())] - stamps[0]) / 1e9
        raise EpisodeError(
            f"{path}: nothing was commanded for {gaps.max() / NS_PER_MS:.0f} ms, {at_s:.1f} s into the motion; "
            "the recording lost messages there and cannot be replayed"
        )
    times = np.arange(stamps[0], stamps[-1], _EPISODE_PERIOD_NS)
    joints = np.stack([one.joint_positions for one in commanded])
    targets = np.stack([np.interp(times, stamps, joints[:, joint]) for joint in range(_JOINTS)], axis=1)
    before = np.searchsorted(stamps, times, side="right") - 1
    asked = np.array([one.gripper_opening for one in commanded], dtype=np.float64)
    return targets, np.clip(asked[before], 0.0, 1.0)


def scene_of(meta: Mapping[str, Any]) -> Scene | None:
    """From an episode's notes: ``task``, ``seed`` and ``variant``, or a task written as ``TASK:SEED`` or ``TASK:SEED:VARIANT``."""
    task, _, rest = str(meta.get("task", "")).partition(":")
    seed, _, variant = rest.partition(":")
    if isinstance(meta.get("seed"), int):
        return Scene(task=task, seed=int(meta["seed"]), variant=str(meta.get("variant", "id")))
    return Scene(task=task, seed=int(seed), variant=variant or "id") if task and seed.isdecimal() else None
