"""LIBERO's demonstrations: one HDF5 file a task, in it ``data/demo_N``.

Layout (LIBERO, Liu et al. 2023): ``data`` carries the attribute ``problem_info``, JSON with ``language_instruction``; a demo has
``actions`` [R, 7] (position and axis-angle deltas scaled to [-1, 1], gripper -1 open, 1 closed) and ``obs`` with ``agentview_rgb`` and
``eye_in_hand_rgb`` (OpenGL's rows: upside down), ``ee_states`` [R, 6] and ``gripper_states`` [R, 2].
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mola_core.contracts.io_spec import DataContract
from mola_core.data.errors import BadSourceFileError, DataError
from mola_core.data.sources.bad_files import digest_of, read_each
from mola_core.data.sources.protocol import EpisodeHeader, EpisodeNumbers, Images, require_finite, require_instruction

CONTRACT = DataContract(
    robot="panda",
    cameras=("third_person", "wrist"),
    period_ns=50_000_000,
    state=("ee_x", "ee_y", "ee_z", "ee_rx", "ee_ry", "ee_rz", "finger_left", "finger_right"),
    action=("ee_dx", "ee_dy", "ee_dz", "ee_drx", "ee_dry", "ee_drz", "gripper_close"),
)
_PICTURES = {"third_person": "agentview_rgb", "wrist": "eye_in_hand_rgb"}
_ARRAYS = ("ee_states", "gripper_states", *_PICTURES.values())


@dataclass(frozen=True)
class _Place:
    """Where an episode lies."""

    file: Path
    demo: str
    header: EpisodeHeader


class LiberoEpisodes:
    """All demos of all ``*.hdf5`` files below a folder."""

    action_lead = 0

    def __init__(self, path: Path, *, name: str, skip_bad: bool = False) -> None:
        self.path, self.name, self.contract = path, name, CONTRACT
        self._files = sorted(path.rglob("*.hdf5"))
        found, skipped = read_each(self._files, _demos, skip_bad=skip_bad)
        self._places = [place for places in found for place in places]
        self.skipped: Sequence[DataError] = skipped
        self.episodes = [place.header for place in self._places]

    def digest(self) -> str:
        return digest_of(self._files, base=self.path, note=f"{len(self.episodes)}")

    def numbers(self, episode: int) -> EpisodeNumbers:
        place = self._places[episode]
        with _read(place.file) as file:
            demo = file["data"][place.demo]
            state = np.concatenate([demo["obs"]["ee_states"][()], demo["obs"]["gripper_states"][()]], axis=1)
            numbers = EpisodeNumbers(state=state.astype(np.float32), action=demo["actions"][()].astype(np.float32))
        return require_finite(numbers, CONTRACT, where=f"{place.file}, {place.demo}")

    def frames(self, episode: int, camera: str, rows: Sequence[int] | None = None) -> Images:
        place = self._places[episode]
        wanted = np.arange(place.header.length) if rows is None else np.asarray(rows)
        distinct, back = np.unique(wanted, return_inverse=True)  # h5py takes ascending indices only
        name = _PICTURES[camera]
        with _read(place.file) as file:
            stored = file["data"][place.demo]["obs"][name][distinct]
        upright: Images = np.ascontiguousarray(stored[:, ::-1])[back]
        return upright


def _opened(path: Path) -> "h5py.File":
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise BadSourceFileError(path, f"no readable HDF5 ({error})") from error


@contextmanager
def _read(path: Path) -> Iterator["h5py.File"]:
    """The open file; what is found damaged while it is read is named, too."""
    with _opened(path) as file:
        try:
            yield file
        except (OSError, KeyError, RuntimeError, ValueError) as error:  # h5py has no class of its own for any of these
            raise BadSourceFileError(path, f"damaged inside ({error})") from error


def _demos(path: Path) -> list[_Place]:
    with _opened(path) as file:
        try:
            data = file["data"]
            problem = json.loads(data.attrs["problem_info"])
            words = problem["language_instruction"]
            instruction = require_instruction("".join(words), where=str(path))
            names = sorted(data, key=lambda name: int(name.rpartition("_")[2]))
            headers = [_header(data[name], instruction) for name in names]
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            raise BadSourceFileError(path, f"not LIBERO's layout ({error})") from error
    return [_Place(file=path, demo=name, header=header) for name, header in zip(names, headers, strict=True)]


def _header(demo: Any, instruction: str) -> EpisodeHeader:
    lengths = {len(demo["obs"][name]) for name in _ARRAYS} | {len(demo["actions"])}
    if len(lengths) != 1:
        raise ValueError(f"{demo.name} has arrays of {sorted(lengths)} rows")
    return EpisodeHeader(length=lengths.pop(), instruction=instruction)
