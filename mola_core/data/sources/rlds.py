"""Robot data in RLDS form as TensorFlow Datasets stores it: a folder of TFRecord shards, an episode a record.

A record flattens its steps: feature ``steps/observation/image`` is the list of all encoded pictures, ``steps/action/world_vector`` all
vectors one after the other. Which features hold what differs from dataset to dataset; :data:`LAYOUTS` knows RT-1
(``fractal20220817_data``) and Bridge, in the Open X-Embodiment form and in that of the Bridge V2 authors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from mola_core.contracts.io_spec import DataContract
from mola_core.data.errors import BadFileError, BadSourceFileError, DataError
from mola_core.data.sources.bad_files import digest_of, read_each
from mola_core.data.sources.protocol import EpisodeHeader, EpisodeNumbers, Images, require_finite, require_instruction
from mola_core.data.sources.tfrecord import Example, Record, map_file, records

_DELTA = ("ee_dx", "ee_dy", "ee_dz", "ee_drx", "ee_dry", "ee_drz")


@dataclass(frozen=True)
class RldsLayout:
    """Which features hold what."""

    name: str
    contract: DataContract
    pictures: Mapping[str, str]
    """Camera → feature."""
    instruction: str
    state: Sequence[tuple[str, int]]
    """(feature, numbers in a step), joined in this order."""
    action: Sequence[tuple[str, int]]


LAYOUTS: tuple[RldsLayout, ...] = (
    RldsLayout(
        name="rt_1",
        contract=DataContract(
            robot="google_robot",
            cameras=("third_person",),
            period_ns=333_333_333,
            state=("ee_x", "ee_y", "ee_z", "ee_qx", "ee_qy", "ee_qz", "ee_qw", "gripper_closed"),
            action=(*_DELTA, "gripper_close"),
        ),
        pictures={"third_person": "steps/observation/image"},
        instruction="steps/observation/natural_language_instruction",
        state=(("steps/observation/base_pose_tool_reached", 7), ("steps/observation/gripper_closed", 1)),
        action=(
            ("steps/action/world_vector", 3),
            ("steps/action/rotation_delta", 3),
            ("steps/action/gripper_closedness_action", 1),
        ),
    ),
    RldsLayout(
        name="bridge",
        contract=DataContract(
            robot="widow_x",
            cameras=("third_person",),
            period_ns=200_000_000,
            state=("ee_x", "ee_y", "ee_z", "ee_roll", "ee_pitch", "ee_yaw", "gripper_opening"),
            action=(*_DELTA, "gripper_open"),
        ),
        pictures={"third_person": "steps/observation/image"},
        instruction="steps/observation/natural_language_instruction",
        state=(("steps/observation/state", 7),),
        action=(("steps/action/world_vector", 3), ("steps/action/rotation_delta", 3), ("steps/action/open_gripper", 1)),
    ),
    RldsLayout(
        name="bridge_v2",
        contract=DataContract(
            robot="widow_x",
            cameras=("third_person",),
            period_ns=200_000_000,
            state=("ee_x", "ee_y", "ee_z", "ee_roll", "ee_pitch", "ee_yaw", "gripper_opening"),
            action=(*_DELTA, "gripper_open"),
        ),
        pictures={"third_person": "steps/observation/image_0"},
        instruction="steps/language_instruction",
        state=(("steps/observation/state", 7),),
        action=(("steps/action", 7),),
    ),
)


class RldsEpisodes:
    """All episodes of the ``*.tfrecord*`` shards of one split in a folder."""

    action_lead = 0

    def __init__(self, path: Path, *, name: str, split: str = "train", skip_bad: bool = False) -> None:
        self.path, self.name = path, name
        self._files = sorted(path.glob(f"*-{split}.tfrecord*"))
        if not self._files:
            raise DataError(f"{path} has no shards *-{split}.tfrecord*")
        self._layout = _layout_of(self._files, skip_bad=skip_bad)
        self.contract = self._layout.contract
        found, skipped = read_each(self._files, self._shard, skip_bad=skip_bad)
        self._records = [record for shard in found for record, _ in shard]
        self.episodes = [header for shard in found for _, header in shard]
        self.skipped: Sequence[DataError] = skipped

    def _shard(self, path: Path) -> list[tuple[Record, EpisodeHeader]]:
        content = map_file(path)
        return [(record, self._header(Example(record, content))) for record in records(path)]

    def _header(self, example: Example) -> EpisodeHeader:
        length = len(example.blobs(self._layout.pictures[self.contract.cameras[0]]))
        sentences = example.blobs(self._layout.instruction)
        text = bytes(sentences[0]).decode(errors="replace") if sentences else ""
        return EpisodeHeader(length=length, instruction=require_instruction(text, where=str(self.path)))

    def digest(self) -> str:
        return digest_of(self._files, base=self.path, note=f"{self._layout.name} {len(self.episodes)}")

    def numbers(self, episode: int) -> EpisodeNumbers:
        record = self._records[episode]
        example, length = Example(record), self.episodes[episode].length
        numbers = EpisodeNumbers(
            state=_joined(example, self._layout.state, length=length, record=record),
            action=_joined(example, self._layout.action, length=length, record=record),
        )
        return require_finite(numbers, self.contract, where=f"{record.path}, record at byte {record.offset}")

    def frames(self, episode: int, camera: str, rows: Sequence[int] | None = None) -> Images:
        record = self._records[episode]
        pictures = _example(record).blobs(self._layout.pictures[camera])
        wanted = range(len(pictures)) if rows is None else rows
        return np.stack([_decoded(pictures[row], record, row) for row in wanted])


@lru_cache(maxsize=32)
def _example(record: Record) -> Example:
    return Example(record)


def _layout_of(files: Sequence[Path], *, skip_bad: bool) -> RldsLayout:
    """The layout whose features the first readable record has."""
    for file in files:
        try:
            example = Example(next(records(file)))
        except StopIteration:
            continue
        except DataError:
            if not skip_bad:
                raise
            continue
        for layout in LAYOUTS:
            wanted = [
                *layout.pictures.values(),
                layout.instruction,
                *(name for name, _ in (*layout.state, *layout.action)),
            ]
            if all(name in example for name in wanted):
                return layout
        raise BadFileError(
            file, f"features {', '.join(example.names)} are of none of {', '.join(one.name for one in LAYOUTS)}"
        )
    raise DataError(f"{files[0].parent} holds no readable record")


def _joined(example: Example, parts: Sequence[tuple[str, int]], *, length: int, record: Record) -> np.ndarray:
    columns = []
    for name, width in parts:
        values = example.numbers(name)
        if values.size != length * width:
            raise BadSourceFileError(
                record.path,
                f"record at byte {record.offset}: {name} has {values.size} numbers for {length} steps of {width}",
            )
        columns.append(values.reshape(length, width))
    return np.concatenate(columns, axis=1).astype(np.float32)


def _decoded(picture: memoryview, record: Record, row: int) -> np.ndarray:
    color = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR) if len(picture) else None
    if color is None:
        raise BadSourceFileError(record.path, f"record at byte {record.offset}: picture {row} cannot be decoded")
    rgb: np.ndarray = cv2.cvtColor(color, cv2.COLOR_BGR2RGB)
    return rgb
