"""The one type that every dataset becomes before a network sees it, and what a source of such samples is.

Letters used in shapes: C cameras, T foresight offsets, L U those of them that are labelled, H W pixels of a view, h w cells of a label
map, S numbers in a state, K rows of an action chunk, A numbers in an action. All arrays are numpy; nothing here knows torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from pydantic import BaseModel, ConfigDict, Field, model_validator

from mola_core.contracts.io_spec import CameraView, DataContract, IoSpec

if TYPE_CHECKING:
    from mola_core.data.batch import Batch, Clips

LABELS = ("depth", "semantic", "referred", "flow")
"""What a sample may be labelled with, see :attr:`Sample.labels`."""
ACTED_ON, GOES_TO = 1, 2
"""Numbers in the label ``referred``; 0 is all that the instruction does not speak of."""


class WindowSpec(BaseModel):
    """Which part of an episode one sample is, as seen from its row "now"."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    views: tuple[CameraView, ...] = Field(min_length=1)
    """Cameras in the model's order; all of one size, so that they stack."""
    offsets: tuple[int, ...] = Field(min_length=1)
    """Frames, in rows after now: 0 first, then the foresight offsets, ascending."""
    horizon: int = Field(ge=0, le=256)
    """Rows of the action chunk; 0 asks for pictures alone: state and actions then have no numbers, and sources of any robot mix."""
    labels: tuple[str, ...] = ()
    """Names from LABELS that each sample must carry."""
    label_cameras: tuple[str, ...] | None = None
    """Of which cameras; None: of all."""
    label_frames: tuple[int, ...] | None = None
    """Of which frames, as numbers in ``offsets``: 0 first, ascending; None: of all."""

    @model_validator(mode="after")
    def _check(self) -> "WindowSpec":
        if len({(view.width, view.height) for view in self.views}) != 1:
            raise ValueError(f"all views of a window have one size, got {[(v.width, v.height) for v in self.views]}")
        if self.offsets[0] != 0 or any(b <= a for a, b in zip(self.offsets, self.offsets[1:], strict=False)):
            raise ValueError(f"offsets begin with 0 and ascend, got {self.offsets}")
        unknown = set(self.labels) - set(LABELS)
        if unknown:
            raise ValueError(f"labels {sorted(unknown)} are not known; choose from {LABELS}")
        strange = set(self.labelled_cameras) - set(self.cameras)
        if strange or not self.labelled_cameras:
            raise ValueError(f"label_cameras are some of {self.cameras}, got {self.label_cameras}")
        frames = self.labelled_frames
        ascending = all(a < b for a, b in pairwise(frames))
        if not frames or frames[0] != 0 or not ascending or frames[-1] >= len(self.offsets):
            raise ValueError(f"label_frames begin with 0 and ascend below {len(self.offsets)}, got {frames}")
        return self

    @classmethod
    def of(cls, io: IoSpec, *, labels: tuple[str, ...] = (), pictures_only: bool = False) -> "WindowSpec":
        """The window that a model with ``io`` trains on."""
        horizon = 0 if pictures_only else io.horizon
        return cls(views=io.views, offsets=(0, *io.foresight_offsets), horizon=horizon, labels=labels)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of every view."""
        return self.views[0].width, self.views[0].height

    @property
    def cameras(self) -> tuple[str, ...]:
        """Roles in the order of axis C."""
        return tuple(view.camera for view in self.views)

    @property
    def labelled_cameras(self) -> tuple[str, ...]:
        """Roles in the order of a label's axis L."""
        return self.cameras if self.label_cameras is None else self.label_cameras

    @property
    def labelled_frames(self) -> tuple[int, ...]:
        """Numbers in ``offsets``, in the order of a label's axis 1+U."""
        return tuple(range(len(self.offsets))) if self.label_frames is None else self.label_frames


@dataclass(frozen=True, slots=True)
class Motion:
    """The numbers of a sample, without its pictures."""

    state: Float[np.ndarray, "S"]
    """As the contract names them, not normalised."""
    actions: Float[np.ndarray, "K A"]
    """Under our own contract absolute; row i is what was commanded ``i + 1`` periods after now (:attr:`IoSpec.horizon`)."""
    action_mask: Bool[np.ndarray, "K"]
    """False beyond the end of the episode, where the last action is repeated."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One row of an episode with what follows it."""

    frames: UInt8[np.ndarray, "C 1+T H W 3"]
    """RGB, now first."""
    frame_mask: Bool[np.ndarray, "C 1+T"]
    """False where the source has no such camera (zeros) or the episode has ended (its last frame)."""
    motion: Motion
    instruction: str
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)
    """``depth`` float32 [L, 1+U, h, w], in metres or, of teachers that know it relatively alone, as
    :mod:`mola_core.data.labels.relative_depth` says, with ``depth_mask`` bool [L, 1+U, h, w], true where it is known;
    ``semantic`` uint8 [L, 1+U, h, w], class numbers, or float32 [L, 1+U, h, w, D], a picture model's features;
    ``referred`` uint8 [L, 1+U, h, w], what the instruction speaks of: ACTED_ON, GOES_TO or 0;
    ``flow`` float32 [L, U, h, w, 2], where each cell of now has moved to, in fractions of the view's width and height, with
    ``flow_mask`` bool [L, U, h, w], true where that is known. What is not known is 0, and is nothing to learn from."""
    dataset: str = ""
    episode: int = 0
    row: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sample lies in its source, known without decoding anything."""

    episode: int
    row: int
    """Ascending within an episode, and neighbours in the source are neighbours in time."""
    instruction: str


class SampleSource(Protocol):
    """A finite, indexed set of samples; the same index always gives the same sample. Threads and processes may share it."""

    @property
    def name(self) -> str: ...

    @property
    def contract(self) -> DataContract: ...

    @property
    def window(self) -> WindowSpec: ...

    @property
    def relative_labels(self) -> tuple[str, ...]:
        """Those of the window's labels that have no unit: each frame is on a scale of its own."""
        ...

    def __len__(self) -> int: ...

    def sample(self, index: int) -> Sample:
        """Sample ``index``. Raises DataError, naming file and reason, where the data are bad."""
        ...

    def motion(self, index: int) -> Motion:
        """The same without decoding pictures; for statistics."""
        ...

    def batch(self, indices: Sequence[int] | Int[np.ndarray, "B"]) -> "Batch":
        """Those samples stacked."""
        ...

    def clips(self, indices: Sequence[int] | Int[np.ndarray, "B"], *, cameras: Int[np.ndarray, "B"]) -> "Clips":
        """Of each of those samples the frames of one of the window's cameras, by number; the others are not decoded."""
        ...

    def labels(self, indices: Sequence[int] | Int[np.ndarray, "B"]) -> Mapping[str, np.ndarray]:
        """Their labels alone, stacked, without decoding pictures."""
        ...

    def place(self, index: int) -> Place:
        """Where it lies; for splitting by episodes and for caches."""
        ...
