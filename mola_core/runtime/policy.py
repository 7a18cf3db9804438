"""A policy as the robot's side knows it: an observation in, rows of targets out, in numpy.

Its two halves run as two nodes, :class:`~mola_core.runtime.foresight.Imagination` and :class:`Actor`; a :class:`Policy` is both
together, which the evaluation uses and which one process may use on a rig.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from jaxtyping import Float, Int, UInt8

from mola_core.contracts.io_spec import IoSpec
from mola_core.runtime.foresight import Foresight, Imagination, Observed


@dataclass(frozen=True)
class PolicyObservation:
    """All that a policy is told of one instant."""

    stamp_ns: int
    """Capture time of the oldest input."""
    views: Mapping[str, UInt8[np.ndarray, "height width 3"]]
    """By camera, in the sizes of the :class:`~mola_core.contracts.io_spec.IoSpec`."""
    state: Float[np.ndarray, "13"]
    """``STATE_NAMES`` of :mod:`mola_core.contracts.io_spec`; SI, not normalised."""
    instruction: str


@dataclass(frozen=True)
class PolicyAnswer:
    """What a policy would do; row ``k`` is due ``k + 1`` periods after ``stamp_ns``."""

    stamp_ns: int
    """Capture time of the oldest input that it rests upon."""
    targets: Float[np.ndarray, "horizon 6"]
    """``base_from_tcp``, absolute: m and rotation vector in rad."""
    openings: Float[np.ndarray, "horizon"]
    """0 closed, 1 open."""
    codes: Mapping[str, Int[np.ndarray, "queries"]] = field(default_factory=dict)
    """Rows chosen of each modality's codebook; empty for policies without latent actions."""
    latents: Mapping[str, Float[np.ndarray, "queries width"]] = field(default_factory=dict)
    """The latent actions themselves, by modality."""
    foresight: Foresight | None = None
    """What it acted on, where the policy imagines."""
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    """Wall time of each stage."""


class Actor(Protocol):
    """The second half: a foresight and the state to targets. Not thread-safe."""

    bundle_id: str
    modalities: tuple[str, ...]
    """Inverse dynamics models it has, in order; all are enabled at first."""
    max_settled: int
    """The most rows that may be given as ``settled``: as many as the head was shown in training."""

    def act(
        self,
        foresight: Foresight,
        *,
        state: Float[np.ndarray, "13"],
        noise_seed: int | None = None,
        settled: Float[np.ndarray, "rows 7"] | None = None,
    ) -> PolicyAnswer:
        """Targets for ``foresight``; equal seeds give equal answers, None counts on from the last.

        ``settled`` are the first rows of the answer where they cannot be changed any more, because they will have been executed by
        the time it arrives (``ACTION_NAMES``, absolute): the rest continues them.

        Raises:
            RuntimeInputError: the foresight is of another bundle, its tensors have other shapes, or more rows are settled than the
                head can continue.
        """
        ...

    def enable(self, modalities: frozenset[str]) -> None:
        """Use only these from the next call on; the others' latent actions become zeros.

        Raises:
            RuntimeInputError: one is not of this model.
        """
        ...


class Policy(Protocol):
    """Both halves, or anything else that turns observations into targets. Not thread-safe."""

    io_spec: IoSpec

    @property
    def bundle_id(self) -> str:
        """Of the model; empty for what is none."""
        ...

    @property
    def max_settled(self) -> int:
        """See :class:`Actor`."""
        ...

    def reset(self, *, instruction: str) -> None:
        """An episode begins; whatever was remembered is forgotten."""
        ...

    def act(
        self,
        observation: PolicyObservation,
        *,
        noise_seed: int | None = None,
        settled: Float[np.ndarray, "rows 7"] | None = None,
    ) -> PolicyAnswer:
        """What to do from ``observation`` on; for ``settled`` see :meth:`Actor.act`."""
        ...


@dataclass
class ComposedPolicy:
    """Imagination and actor of one bundle in one process."""

    io_spec: IoSpec
    imagination: Imagination
    actor: Actor

    @property
    def bundle_id(self) -> str:
        """Of both halves."""
        return self.actor.bundle_id

    @property
    def max_settled(self) -> int:
        """Of the actor."""
        return self.actor.max_settled

    def reset(self, *, instruction: str) -> None:
        """Nothing is remembered between calls."""

    def act(
        self,
        observation: PolicyObservation,
        *,
        noise_seed: int | None = None,
        settled: Float[np.ndarray, "rows 7"] | None = None,
    ) -> PolicyAnswer:
        """Imagine, then act."""
        observed = Observed(observation.stamp_ns, observation.views, observation.instruction)
        foresight = self.imagination.imagine(observed, noise_seed=noise_seed)
        return self.actor.act(foresight, state=observation.state, noise_seed=noise_seed, settled=settled)

    def preview(self, foresight: Foresight) -> Mapping[str, UInt8[np.ndarray, "T height width 3"]]:
        """See :meth:`mola_core.runtime.foresight.Imagination.preview`."""
        return self.imagination.preview(foresight)
