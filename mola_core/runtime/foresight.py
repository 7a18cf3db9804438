"""The first half of a policy: from what the cameras see and what is asked to what is imagined.

Letters of shapes as in :mod:`mola_core.nets.protocols`; there is no batch axis here, a robot asks one question at a time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from jaxtyping import UInt8

from mola_core.runtime.tensors import Tensor


@dataclass(frozen=True)
class Observed:
    """What an imagination is given."""

    stamp_ns: int
    """Capture time of the oldest view."""
    views: Mapping[str, UInt8[np.ndarray, "height width 3"]]
    """By camera, in the sizes of the :class:`~mola_core.contracts.io_spec.IoSpec`; made by ``preprocess.view_of``."""
    instruction: str


@dataclass(frozen=True)
class Foresight:
    """What was imagined from one observation; what crosses from the imagination node to the policy node."""

    stamp_ns: int
    """Capture time of the oldest view it was imagined from."""
    bundle_id: str
    """Of the model that imagined it; an actor refuses the foresight of another."""
    instruction: str
    cameras: tuple[str, ...]
    """In the order of the camera axis."""
    offsets_ns: tuple[int, ...]
    """When each imagined frame is, after ``stamp_ns``."""
    tensors: Mapping[str, Tensor]
    """Named as in :mod:`mola_core.runtime.stages`: what the actor reads (the features of all cameras, for most models) and, where the
    model can show pictures, the latents of the present. On the device when imagination and actor share a process. Made already, and
    never written to again: any thread may read them."""
    noise_seed: int
    """What it was imagined from, so that a preview shows the same future."""
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    """Wall time of each stage. On a device the encoder's is what enqueuing it took; the video network's lasts until all is done."""


class Imagination(Protocol):
    """Views and an instruction to a foresight. Not thread-safe: one caller at a time."""

    bundle_id: str

    def imagine(self, observed: Observed, *, noise_seed: int | None = None) -> Foresight:
        """One pass of the video model; equal seeds give equal foresights, None counts on from the last. It returns when a device has
        done its part.

        Raises:
            RuntimeInputError: a view is missing or has another size than the model was made for.
            EngineError: an engine or its device failed.
        """
        ...

    def preview(self, foresight: Foresight) -> Mapping[str, UInt8[np.ndarray, "T height width 3"]]:
        """The imagined frames of each camera, for people; slow, never on the control path.

        Raises:
            UnsupportedError: the model has no decoder for people.
        """
        ...
