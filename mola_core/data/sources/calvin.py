"""CALVIN: a folder of one ``episode_NNNNNNN.npz`` a frame, and the annotated segments in ``lang_annotations/auto_lang_ann.npy``.

Layout (CALVIN, Mees et al. 2022): a frame has ``rgb_static`` (200 × 200), ``rgb_gripper`` (84 × 84), ``robot_obs`` (15: TCP position
and Euler angles, gripper width, 7 joints, gripper action) and ``rel_actions`` (7, scaled to [-1, 1]), 30 a second. The annotations
are a dictionary: ``language.ann`` holds sentences, ``info.indx`` the first and last frame number of each, both included.
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mola_core.contracts.io_spec import DataContract
from mola_core.data.errors import BadFileError, BadSourceFileError, DataError
from mola_core.data.sources.bad_files import digest_of
from mola_core.data.sources.protocol import EpisodeHeader, EpisodeNumbers, Images, require_finite, require_instruction
from mola_core.data.sources.restricted_pickle import load_object_npy

ANNOTATIONS = Path("lang_annotations") / "auto_lang_ann.npy"
_JOINTS = tuple(f"joint_{number}" for number in range(1, 8))
CONTRACT = DataContract(
    robot="panda",
    cameras=("third_person", "wrist"),
    period_ns=33_333_333,
    state=("ee_x", "ee_y", "ee_z", "ee_roll", "ee_pitch", "ee_yaw", "gripper_width", *_JOINTS, "gripper_action"),
    action=("ee_dx", "ee_dy", "ee_dz", "ee_droll", "ee_dpitch", "ee_dyaw", "gripper_open"),
)
_PICTURES = {"third_person": "rgb_static", "wrist": "rgb_gripper"}


class CalvinEpisodes:
    """The annotated segments of one split's folder (``training`` or ``validation``)."""

    action_lead = 0

    def __init__(self, path: Path, *, name: str, skip_bad: bool = False) -> None:
        """Read the annotations and see that every frame that they name is there.

        Raises:
            BadFileError: damaged annotations, or a frame is missing and ``skip_bad`` is false.
        """
        self.path, self.name, self.contract = path, name, CONTRACT
        self._segments: list[range] = []
        self.episodes: list[EpisodeHeader] = []
        skipped: list[DataError] = []
        there = {file.name for file in path.glob("episode_*.npz")}
        for sentence, frames in _segments(path / ANNOTATIONS):
            missing = next((number for number in frames if _file_name(number) not in there), None)
            if missing is not None:
                error = BadSourceFileError(path / _file_name(missing), f"missing, but annotated as {sentence!r}")
                if not skip_bad:
                    raise error
                skipped.append(error)
                continue
            self._segments.append(frames)
            self.episodes.append(EpisodeHeader(length=len(frames), instruction=sentence))
        self.skipped: Sequence[DataError] = skipped

    def digest(self) -> str:
        spans = ",".join(f"{frames.start}-{frames.stop}" for frames in self._segments)
        return digest_of([self.path / ANNOTATIONS], base=self.path, note=spans)

    def numbers(self, episode: int) -> EpisodeNumbers:
        frames = [self._frame(number, ("robot_obs", "rel_actions")) for number in self._segments[episode]]
        numbers = EpisodeNumbers(
            state=np.stack([frame["robot_obs"] for frame in frames]).astype(np.float32),
            action=np.stack([frame["rel_actions"] for frame in frames]).astype(np.float32),
        )
        return require_finite(numbers, CONTRACT, where=f"{self.path}, frames from {self._segments[episode].start}")

    def frames(self, episode: int, camera: str, rows: Sequence[int] | None = None) -> Images:
        segment = self._segments[episode]
        wanted = range(len(segment)) if rows is None else rows
        key = _PICTURES[camera]
        return np.stack([self._frame(segment[row], (key,))[key] for row in wanted])

    def _frame(self, number: int, keys: Sequence[str]) -> dict[str, np.ndarray]:
        path = self.path / _file_name(number)
        try:
            with np.load(path, allow_pickle=False) as content:
                return {key: content[key] for key in keys}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise BadSourceFileError(path, f"no readable frame ({error})") from error


def _file_name(number: int) -> str:
    return f"episode_{number:07d}.npz"


def _segments(path: Path) -> list[tuple[str, range]]:
    content: Any = load_object_npy(path)
    try:
        sentences, spans = content["language"]["ann"], content["info"]["indx"]
        pairs = [
            (str(sentence), range(int(first), int(last) + 1))
            for sentence, (first, last) in zip(sentences, spans, strict=True)
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise BadFileError(path, f"not CALVIN's annotations ({error})") from error
    return [
        (require_instruction(sentence, where=f"{path}, frames from {frames.start}"), frames)
        for sentence, frames in pairs
    ]
