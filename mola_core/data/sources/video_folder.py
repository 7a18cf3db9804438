"""Videos with captions, without a robot: Something-Something V2's layout.

A folder with the clips (``NAME.webm``, ``.mp4``) in it or in a folder below, and JSON lists of ``{"id": NAME, "label": CAPTION}`` (as
Something-Something's ``train.json``). Captions without a clip are left out: lists name more than one part of the dataset.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import VideoReformatter

from mola_core.contracts.io_spec import DataContract
from mola_core.data.errors import BadFileError, BadSourceFileError, DataError
from mola_core.data.sources.bad_files import digest_of, read_each
from mola_core.data.sources.protocol import EpisodeHeader, EpisodeNumbers, Images, require_instruction

CONTRACT = DataContract(robot="human", cameras=("third_person",), period_ns=83_333_333, state=(), action=())
"""12 frames a second, as Something-Something V2 has; clips of another rate are taken frame by frame all the same."""
SUFFIXES = (".webm", ".mp4")
_CLIPS_IN_MEMORY = 8


class VideoFolderEpisodes:
    """Captioned clips; each is an episode."""

    action_lead = 0

    def __init__(self, path: Path, *, name: str, skip_bad: bool = False) -> None:
        self.path, self.name, self.contract = path, name, CONTRACT
        captions = _captions(path)
        clips = [file for file in sorted(path.rglob("*")) if file.suffix in SUFFIXES and file.stem in captions]
        if not clips:
            raise DataError(f"{path} has no clip ({', '.join(SUFFIXES)}) that its captions name")

        def header(clip: Path) -> tuple[Path, EpisodeHeader]:
            instruction = require_instruction(captions[clip.stem], where=str(clip))
            return clip, EpisodeHeader(length=_num_frames(clip), instruction=instruction)

        found, skipped = read_each(clips, header, skip_bad=skip_bad)
        self._clips = [clip for clip, _ in found]
        self.episodes = [header for _, header in found]
        self.skipped: Sequence[DataError] = skipped

    def digest(self) -> str:
        return digest_of(self._clips, base=self.path)

    def numbers(self, episode: int) -> EpisodeNumbers:
        length = self.episodes[episode].length
        return EpisodeNumbers(state=np.zeros((length, 0), np.float32), action=np.zeros((length, 0), np.float32))

    def frames(self, episode: int, camera: str, rows: Sequence[int] | None = None) -> Images:
        if camera not in CONTRACT.cameras:
            raise DataError(f"{self.path} has one camera, {CONTRACT.cameras[0]}, not {camera!r}")
        frames = _decoded(self._clips[episode])
        if len(frames) < self.episodes[episode].length:
            raise BadSourceFileError(
                self._clips[episode], f"ends after {len(frames)} of {self.episodes[episode].length} frames"
            )
        chosen: Images = frames if rows is None else frames[list(rows)]
        return chosen


def _captions(path: Path) -> Mapping[str, str]:
    captions: dict[str, str] = {}
    for file in sorted(path.rglob("*.json")):
        try:
            content: Any = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BadFileError(file, f"no readable JSON ({error})") from error
        if isinstance(content, list):
            captions |= {
                str(item["id"]): str(item["label"]) for item in content if isinstance(item, dict) and "label" in item
            }
    if not captions:
        raise DataError(f'{path} has no captions: a JSON list of {{"id": …, "label": …}}')
    return captions


def _num_frames(clip: Path) -> int:
    """Counted from the packets, without decoding: many clips do not say."""
    try:
        with av.open(str(clip)) as container:
            count = sum(1 for packet in container.demux(video=0) if packet.size)
    except (FFmpegError, OSError, IndexError) as error:
        raise BadSourceFileError(clip, f"no readable video ({error})") from error
    if not count:
        raise BadSourceFileError(clip, "a video without frames")
    return count


@lru_cache(maxsize=_CLIPS_IN_MEMORY)
def _decoded(clip: Path) -> Images:
    converter = VideoReformatter()  # one for all frames: making its tables takes ten times as long as using them
    try:
        with av.open(str(clip)) as container:
            rgb = (converter.reformat(frame, format="rgb24") for frame in container.decode(video=0))
            return np.stack([frame.to_ndarray() for frame in rgb])
    except (FFmpegError, OSError, ValueError, IndexError) as error:
        raise BadSourceFileError(clip, f"no decodable video ({error})") from error
