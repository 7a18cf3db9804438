"""MoLA as one module: imagine, infer latent actions, condition the head, act.

The parts run apart as well: stage III trains on cached features of the frozen imagination (``condition`` from ``Imagination``), and
the export cuts the line between imagination and policy at the same place.
"""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mola_core.nets.building import (
    Backbone,
    Head,
    Tokens,
    Visual,
    build_backbone,
    build_head,
    build_tokens,
    build_visual,
)
from mola_core.nets.config import Control, FeatureTokensConfig, MolaConfig
from mola_core.nets.decoders import Canvas, IdmPretraining
from mola_core.nets.image_encoder import ImageEncoder
from mola_core.nets.keypoints import Keypoints
from mola_core.nets.mixture import MixtureOfIdms
from mola_core.nets.protocols import HeadCondition, Instruction, ItemDraws, LatentActions
from mola_core.nets.tokens import PixelTokens, Transition
from mola_core.nets.video_diffusion import flat_cameras, imagine_latents, per_camera

NOISY_CONTROL_STD = 0.5
"""Noise on the present where it stands for the future (paper, table 14), in standard deviations of its tokens' source."""


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
    cells: Float[Tensor, "C B h w I"] | None = None
    """What the reader has made of every cell of the present, for losses that say what is there; None without such cells."""

    @property
    def commitment_loss(self) -> Float[Tensor, ""] | None:
        """Sum over members; None without a mixture."""
        losses = [actions.commitment_loss for actions in self.latent_actions.values()]
        return torch.stack(losses).sum() if losses else None


class Mola(nn.Module):
    """backbone (frozen after stage I) → mixture and visual tokens → head; backbone and mixture may be None, see the configuration."""

    def __init__(
        self,
        config: MolaConfig,
        *,
        backbone: Backbone | None,
        visual: Visual,
        tokens: Tokens | None,
        mixture: MixtureOfIdms | None,
        head: Head,
    ) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        self.visual = visual
        self.tokens = tokens
        self.mixture = mixture
        self.head = head

    @property
    def needs_latents(self) -> bool:
        """Whether the policy looks at imagined pictures and the whole video network has to run."""
        return isinstance(self.tokens, PixelTokens)

    @property
    def canvas(self) -> Canvas:
        """The pictures that the mixture's tokens stand for, for the decoders of stage II."""
        if self.tokens is None or self.config.backbone is None:
            raise ValueError("a model without a mixture draws no pictures")
        height, width = self.config.backbone.height, self.config.backbone.width
        return Canvas(cameras=len(self.tokens.config.cameras), height=height, width=width, grid=self.tokens.grid)

    def imagine(
        self,
        images: Float[Tensor, "B C 3 H W"],
        *,
        instruction: Instruction,
        noise: Float[Tensor, "B C T c h w"],
        steps: int = 1,
        features_only: bool = True,
    ) -> Imagination:
        """Denoise from pure ``noise`` (unit variance) in ``steps`` passes; deterministic given it.

        Raises:
            ValueError: a model without a video network.
        """
        present = self.encoded(images[:, :, None])[:, :, 0]  # B C c h w
        return self.imagine_from(
            present, instruction=instruction, noise=noise, steps=steps, features_only=features_only
        )

    def imagine_from(
        self,
        present: Float[Tensor, "B C c h w"],
        *,
        instruction: Instruction,
        noise: Float[Tensor, "B C T c h w"],
        steps: int = 1,
        features_only: bool = True,
    ) -> Imagination:
        """As :meth:`imagine`, from the present's latents instead of its pictures."""
        batch, cameras = present.shape[:2]
        denoised = imagine_latents(
            self._video(),
            present=flat_cameras(present),
            camera=self.camera_numbers(batch, device=present.device),
            instruction=per_camera(instruction, cameras=cameras),
            noise=flat_cameras(noise),
            steps=steps,
            features_only=features_only,
        )
        clean = denoised.clean
        return Imagination(
            features=rearrange(denoised.features, "(b c) ... -> b c ...", c=cameras),
            latents=None if clean is None else rearrange(clean, "(b c) ... -> b c ...", c=cameras),
        )

    def camera_numbers(self, batch: int, *, device: torch.device) -> Int[Tensor, "BC"]:
        """The camera of each item once cameras are batch items of their own."""
        return torch.arange(self.config.num_cameras, device=device).repeat(batch)

    def encoded(self, pictures: Float[Tensor, "B C T 3 H W"]) -> Float[Tensor, "B C T c h w"]:
        """Latents of every frame of every camera. ValueError for a model without a video network."""
        latents = self._video().encode(flat_cameras(pictures))
        return rearrange(latents, "(b c) ... -> b c ...", c=pictures.shape[1])

    def _video(self) -> Backbone:
        if self.backbone is None:
            raise ValueError("this policy has no imagination")
        return self.backbone

    def decoded(self, imagination: Imagination) -> Float[Tensor, "B C T 3 H W"]:
        """Imagined pictures."""
        if self.backbone is None or imagination.latents is None:
            raise ValueError("pictures need the clean latents: imagine with features_only=False")
        frames = self.backbone.decode(flat_cameras(imagination.latents))
        return rearrange(frames, "(b c) ... -> b c ...", c=imagination.latents.shape[1])

    def transition(
        self,
        images: Float[Tensor, "B C 3 H W"],
        *,
        imagination: Imagination,
        control: Control = "imagined",
        control_noise: Tensor | None = None,
    ) -> Transition:
        """Tokens of now and of the imagined future; ``control`` puts something else in the future's place.

        ``control_noise`` (for ``noisy``): of unit variance and the shape of one frame's features, or of the pictures.
        """
        if self.tokens is None:
            raise ValueError("a model without a mixture looks at no transition")
        now, future = self._sources(images, imagination)
        if control == "same":
            future = now
        if control == "noisy":
            if control_noise is None:
                raise ValueError("the noisy control starts from noise: control_noise is missing")
            future = now + NOISY_CONTROL_STD * now.std() * control_noise
        transition: Transition = self.tokens(now, future)
        return transition

    def _sources(
        self, images: Float[Tensor, "B C 3 H W"], imagination: Imagination
    ) -> tuple[Float[Tensor, "B C D y x"], Float[Tensor, "B C D y x"]]:
        """What the tokens of now and of the future are made from: features (F h w), or pixels (3 H W)."""
        mixture = self.config.mixture
        if mixture is None:
            raise ValueError("a model without a mixture looks at no transition")
        if isinstance(mixture.tokens, FeatureTokensConfig):
            features = imagination.features
            return features[:, :, mixture.tokens.now_frame], features[:, :, mixture.tokens.future_frame]
        if imagination.latents is None:
            raise ValueError("tokens from pixels need the clean latents: imagine with features_only=False")
        chosen = imagination.latents[:, :, mixture.tokens.future_frame]
        return images, self.decoded(Imagination(features=imagination.features, latents=chosen[:, :, None]))[:, :, 0]

    def condition(
        self,
        observation: NetObservation,
        *,
        imagination: Imagination | None,
        control: Control = "imagined",
        control_noise: Tensor | None = None,
    ) -> Conditioned:
        """Latent actions and visual tokens; ``imagination`` is None only for a policy without a backbone."""
        latent_actions: dict[str, LatentActions] = {}
        if self.mixture is not None:
            if imagination is None:
                raise ValueError("a mixture needs an imagination")
            latent_actions = self.mixture(
                self.transition(
                    observation.images, imagination=imagination, control=control, control_noise=control_noise
                )
            )
        visual, cells = self._read(observation, imagination)
        return Conditioned(
            head=HeadCondition(
                latent_actions=self._joined(latent_actions, like=visual),
                visual=visual,
                instruction=observation.instruction,
                state=observation.state,
            ),
            latent_actions=latent_actions,
            cells=cells,
        )

    def visual_tokens(self, observation: NetObservation, imagination: Imagination | None) -> Float[Tensor, "B N D"]:
        """What the head reads beside latent actions; ``imagination`` is None only for an image encoder."""
        return self._read(observation, imagination)[0]

    def _read(
        self, observation: NetObservation, imagination: Imagination | None
    ) -> tuple[Float[Tensor, "B N D"], Float[Tensor, "C B h w I"] | None]:
        """Visual tokens, and the reader's cells of the present where it has some."""
        if isinstance(self.visual, ImageEncoder):
            return self.visual(observation.images), None
        if imagination is None:
            raise ValueError("a video former needs an imagination")
        if isinstance(self.visual, Keypoints):
            return self.visual.read(imagination.features, observation.instruction)
        return self.visual(imagination.features), None

    def _joined(
        self, latent_actions: dict[str, LatentActions], *, like: Float[Tensor, "B N D"]
    ) -> Float[Tensor, "B MQ D"]:
        if self.mixture is None:
            return like.new_zeros(len(like), 0, 1)
        return self.mixture.joined(latent_actions)

    def losses_of(
        self,
        conditioned: Conditioned,
        *,
        actions: Float[Tensor, "B K A"],
        mask: Bool[Tensor, "B K"],
        draws: ItemDraws,
        weight: Float[Tensor, "B"] | None = None,
        count: Float[Tensor, ""] | None = None,
    ) -> dict[str, Float[Tensor, ""]]:
        """Terms of stage III: ``action``, and ``commitment`` where there is a mixture; unweighted. ``weight`` and ``count`` are the
        head's (``ActionHead``).
        """
        action = self.head.loss(actions, mask=mask, condition=conditioned.head, draws=draws, weight=weight, count=count)
        losses: dict[str, Tensor] = {"action": action}
        commitment = conditioned.commitment_loss
        return losses if commitment is None else losses | {"commitment": commitment}

    def act(
        self,
        observation: NetObservation,
        *,
        video_noise: Float[Tensor, "B C T c h w"] | None,
        action_noise: Float[Tensor, "B K A"],
        video_steps: int = 1,
        action_steps: int | None = None,
        control: Control = "imagined",
        control_noise: Tensor | None = None,
    ) -> Float[Tensor, "B K A"]:
        """Normalised actions, deterministic given the noises; ``action_steps`` defaults to the head's own."""
        imagination = None
        if self.backbone is not None:
            if video_noise is None:
                raise ValueError("imagination starts from noise: video_noise is missing")
            imagination = self.imagine(
                observation.images,
                instruction=observation.instruction,
                noise=video_noise,
                steps=video_steps,
                features_only=not self.needs_latents,
            )
        conditioned = self.condition(observation, imagination=imagination, control=control, control_noise=control_noise)
        actions: Tensor = self.head.sample(
            conditioned.head, noise=action_noise, steps=action_steps or self.head.default_steps
        )
        return actions


def build_mola(config: MolaConfig) -> Mola:
    """All networks of ``config`` with fresh weights; the sentence encoder is not among them (:mod:`mola_core.nets.language`)."""
    backbone = None if config.backbone is None else build_backbone(config.backbone)
    visual = build_visual(config, backbone)
    tokens, mixture = None, None
    if config.mixture is not None and config.backbone is not None and backbone is not None:
        tokens = build_tokens(config.mixture.tokens, config.backbone, backbone)
        mixture = MixtureOfIdms(config.mixture, token_width=tokens.width, num_tokens=tokens.num_tokens)
    head = build_head(config, visual=visual, mixture=mixture)
    return Mola(config, backbone=backbone, visual=visual, tokens=tokens, mixture=mixture, head=head)


def build_pretraining(mola: Mola) -> IdmPretraining:
    """The decoders of stage II around the mixture of ``mola``, which they share."""
    if mola.mixture is None or mola.tokens is None or mola.config.mixture is None:
        raise ValueError("a model without a mixture has nothing to pretrain")
    return IdmPretraining(mola.config.mixture, mola.mixture, token_width=mola.tokens.width, canvas=mola.canvas)
