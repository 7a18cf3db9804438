"""One half of a bundle imagining: bounded in time, its errors told from those of what the rig gave it."""

from typing import Protocol

import numpy as np

from mola_core.contracts.errors import MolaError
from mola_core.contracts.io_spec import IoSpec
from mola_core.runtime.foresight import Foresight, Imagination, Observed
from mola_core.runtime.observation import views_of
from mola_core.runtime.slot import Half
from mola_core.runtime.tensors import RuntimeInputError
from mola_nodes.bounded_calls import BoundedCalls
from mola_nodes.imagination.delivery import Delivery


class ImaginationHalf(Half, Protocol):
    """The first half of a bundle, loaded."""

    @property
    def imagination(self) -> Imagination: ...

    @property
    def io(self) -> IoSpec: ...


class HalfError(MolaError):
    """A half erred, did not come back, or gave what nothing must rest on: it has to leave service."""


def observed(
    half: ImaginationHalf, pixels: dict[str, np.ndarray], stamps_ns: dict[str, int], instruction: str
) -> Observed:
    """What ``half`` is given of the frames.

    Raises:
        RuntimeInputError: a camera has not delivered, or delivers pictures too small for it; the rig's fault, not the half's.
    """
    try:
        views = views_of(pixels, io=half.io)
    except ValueError as error:
        raise RuntimeInputError(f"bundle {half.bundle_id} cannot look: {error}") from error
    return Observed(stamp_ns=min(stamps_ns[camera] for camera in views), views=views, instruction=instruction)


def imagined(
    half: ImaginationHalf,
    given: Observed,
    *,
    delivery: Delivery,
    calls: BoundedCalls[Foresight],
    limit_s: float,
    noise_seed: int | None = None,
) -> Foresight:
    """What ``half`` imagines from ``given``, ready to be delivered; whatever waits for a device is within the bounded call.

    Raises:
        HalfError: it erred, was not back within ``limit_s``, or what it gave is not finite.
    """
    try:
        foresight = calls.call(
            lambda: delivery.prepare(half.imagination.imagine(given, noise_seed=noise_seed)), limit_s=limit_s
        )
    except (MolaError, RuntimeError) as error:  # runtimes raise their own
        raise HalfError(str(error)) from error
    problem = problem_of(foresight)
    if problem:
        raise HalfError(problem)
    return foresight


def problem_of(foresight: Foresight) -> str:
    """Why nothing must rest on it; empty where nothing is wrong with it. What lies on a device is not looked at."""
    for name, tensor in foresight.tensors.items():
        if isinstance(tensor, np.ndarray) and tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
            return f"{name} of its foresight are not finite"
    return ""
