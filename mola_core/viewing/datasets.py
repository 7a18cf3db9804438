"""An episode of a dataset on the stage: its rows, and the actions that follow each as a plan."""

import numpy as np
import rerun

from mola_core.contracts.clock import NS_PER_MS
from mola_core.contracts.geometry import Pose, inverse_transform, pose_from_transform, transform_from_pose
from mola_core.control.kinematics import forward_kinematics
from mola_core.data.lerobot.reader import EpisodeRows, LeRobotReader
from mola_core.viewing.stage import Stage

_PLAN_ROWS = 16
_JOINTS = 6


def tcp_offset_of(rows: EpisodeRows) -> Pose:
    """``flange_from_tcp``, from where the joints of the first row put the flange and where the TCP was."""
    state = rows.state[0].astype(np.float64)
    base_from_flange = forward_kinematics(state[:_JOINTS])
    return pose_from_transform(inverse_transform(base_from_flange) @ transform_from_pose(state[_JOINTS:12]))


def stage_of_dataset(dataset: LeRobotReader, episode: int, recording: rerun.RecordingStream) -> Stage:
    """A stage for one of its episodes."""
    return Stage(
        recording, tcp_offset=tcp_offset_of(dataset.rows(episode)), gripper=True, cameras=dataset.contract.cameras
    )


def show_dataset_episode(dataset: LeRobotReader, episode: int, stage: Stage) -> None:
    """Play one episode onto the stage.

    Raises:
        DatasetError: no such episode, or a file is damaged.
    """
    entry = dataset.episode(episode)
    rows = dataset.rows(episode)
    stage.at(int(rows.stamp_ns[0]))
    stage.note(f"episode {episode}: {entry.instruction} ({entry.meta.get('outcome', 'outcome unstated')})")
    for row in range(entry.length):
        state, action = rows.state[row].astype(np.float64), rows.action[row].astype(np.float64)
        stage.at(int(rows.stamp_ns[row]))
        stage.state(state[:_JOINTS], state[_JOINTS:12], float(state[12]))
        stage.commanded(action[:6], float(action[6]))
        ahead = rows.action[row + 1 : row + 1 + _PLAN_ROWS].astype(np.float64)
        if len(ahead) > 1:
            stage.plan(ahead[:, :6], ahead[:, 6])
        for number, camera in enumerate(dataset.spec.cameras):
            stage.frame(camera, dataset.frame(episode, camera, row))
            age_ns = int(rows.stamp_ns[row] - rows.frame_stamp_ns[row, number])
            stage.series(f"latency/{camera}_age_ms", age_ns / NS_PER_MS)
        if row and rows.intervention[row] != rows.intervention[row - 1]:
            stage.note("a person took over" if rows.intervention[row] else "handed back")
