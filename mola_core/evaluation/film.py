"""A film of one rollout: the cameras and, beside them, the last imagined frame of each, with the instruction above."""

from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np
from jaxtyping import UInt8

from mola_core.contracts.errors import MolaError, UnsupportedError
from mola_core.contracts.rig import LockstepRig
from mola_core.evaluation.sources import ChunkSource, Decision, PolicySource
from mola_core.runtime.policy import ComposedPolicy, Policy

FPS = 20
_CAPTION_HEIGHT = 24

Rgb = UInt8[np.ndarray, "height width 3"]


class Film:
    """Writes an MP4 at twenty frames a simulated second; see :class:`~mola_core.evaluation.rollout.Watcher`."""

    def __init__(self, path: Path, *, source: ChunkSource) -> None:
        self._path = path
        self._policy: Policy | None = source.policy if isinstance(source, PolicySource) else None
        self._writer: cv2.VideoWriter | None = None
        self._decision: Decision | None = None
        self._imagined: list[Rgb] = []

    def watch(self, rig: LockstepRig, decision: Decision | None) -> None:
        """One frame."""
        frames = rig.observe().frames
        if decision is not self._decision:
            self._decision = decision
            self._imagined = self._preview(decision, height=next(iter(frames.values())).shape[0])
        strip = np.hstack([*frames.values(), *self._imagined])
        bar = np.zeros((_CAPTION_HEIGHT, strip.shape[1], 3), dtype=np.uint8)
        caption = f"{rig.elapsed_s():5.1f} s  {rig.verdict().reason}"
        cv2.putText(bar, caption, (8, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (235, 235, 235), 1, cv2.LINE_AA)
        self._write(np.vstack([bar, strip]))

    def _preview(self, decision: Decision | None, *, height: int) -> list[Rgb]:
        answer = decision.answer if decision is not None else None
        if answer is None or answer.foresight is None or not isinstance(self._policy, ComposedPolicy):
            return []
        try:
            imagined = self._policy.preview(answer.foresight)
        except UnsupportedError:
            return []
        return [_scaled(frames[-1], height=height) for frames in imagined.values()]

    def _write(self, picture: Rgb) -> None:
        height, width = picture.shape[:2]
        if self._writer is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = cv2.VideoWriter(str(self._path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (width, height))
            if not self._writer.isOpened():
                raise MolaError(f"film {self._path} cannot be written; is the folder writable?")
        self._writer.write(np.ascontiguousarray(picture[:, :, ::-1]))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.release()


def _scaled(picture: Rgb, *, height: int) -> Rgb:
    width = round(picture.shape[1] * height / picture.shape[0])
    scaled: Rgb = cv2.resize(picture, (width, height), interpolation=cv2.INTER_NEAREST)
    return scaled
