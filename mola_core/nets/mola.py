"""MoLA as one module: imagine, infer latent actions, condition the head, act.

The parts run apart as well: stage III trains on cached features of the frozen imagination (``condition`` from ``Imagination``), and
the export cuts the line between imagination and policy at the same place.
"""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor, nn

from mola_core.nets.config import Control, MolaConfig
from mola_core.nets.protocols import HeadCondition, Instruction, LatentActions


@dataclass(frozen=True)
class NetObservation:
    """What the networks see of one instant."""

    images: Float[Tensor, "B C 3 H W"]
    instruction: Instruction
    state: Float[Tensor, "B S"] | None
    """Normalised."""


@dataclass(frozen=True)
class Imagination:
    """The imagined near future of every camera; frame 0 is the present."""

    features: Float[Tensor, "B C T F h w"]
    latents: Float[Tensor, "B C T c h w"] | None
    """The clean guess, for pictures and for tokens from pixels; None where only features were asked for."""


@dataclass(frozen=True)
class Conditioned:
    """What the head is told, and the latent actions it was made from, by member of the mixture."""

    head: HeadCondition
    latent_actions: dict[str, LatentActions]

    @property
    def commitment_loss(self) -> Float[Tensor, ""] | None:
        """Sum over members; None without a mixture."""
        raise NotImplementedError


class Mola(nn.Module):
    """backbone (frozen after stage I) → mixture and visual tokens → head; backbone and mixture may be None, see the configuration."""

    def __init__(self, config: MolaConfig) -> None:
        super().__init__()
        self.config = config

    def imagine(
        self,
        images: Float[Tensor, "B C 3 H W"],
        *,
        instruction: Instruction,
        noise: Float[Tensor, "B C T c h w"],
        steps: int = 1,
        features_only: bool = True,
    ) -> Imagination:
        """Denoise from pure ``noise`` (unit variance) in ``steps`` passes; deterministic given it."""
        raise NotImplementedError

    def condition(
        self,
        observation: NetObservation,
        *,
        imagination: Imagination | None,
        control: Control = "imagined",
    ) -> Conditioned:
        """Latent actions and visual tokens; ``imagination`` is None only for a policy without a backbone."""
        raise NotImplementedError

    def policy_loss(
        self,
        observation: NetObservation,
        *,
        imagination: Imagination | None,
        actions: Float[Tensor, "B K A"],
        mask: Bool[Tensor, "B K"],
    ) -> dict[str, Float[Tensor, ""]]:
        """Terms of stage III: ``action``, and ``commitment`` where there is a mixture; unweighted."""
        raise NotImplementedError

    def act(
        self,
        observation: NetObservation,
        *,
        video_noise: Float[Tensor, "B C T c h w"] | None,
        action_noise: Float[Tensor, "B K A"],
        video_steps: int = 1,
        action_steps: int | None = None,
        control: Control = "imagined",
    ) -> Float[Tensor, "B K A"]:
        """Normalised actions, deterministic given both noises; ``action_steps`` defaults to the head's own."""
        raise NotImplementedError


def build_mola(config: MolaConfig) -> Mola:
    """All networks of ``config`` with fresh weights; the sentence encoder is not among them (:mod:`mola_core.nets.language`)."""
    return Mola(config)
