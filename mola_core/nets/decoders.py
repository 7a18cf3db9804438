"""Stage II: what makes an inverse dynamics model aware of its modality (paper, section 3.3).

Each member's latent actions must suffice, together with the present, to draw the future RGB picture (one decoder for all members) and
the future in its own modality (a decoder each). The decoders are dropped afterwards. c = cameras among the tokens, p q = sides of a
patch.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from mola_core.nets.attention import TransformerBlock
from mola_core.nets.averages import masked_mean
from mola_core.nets.config import DecodersConfig, MixtureConfig, ModalityConfig
from mola_core.nets.mixture import MixtureOfIdms
from mola_core.nets.tokens import Transition


@dataclass(frozen=True)
class Canvas:
    """The pictures that tokens stand for."""

    cameras: int
    height: int
    width: int
    grid: tuple[int, int]
    """Tokens of one camera, down and across."""


class PictureDecoder(nn.Module):
    """(latent actions, tokens now) → a picture of each camera: a ViT whose outputs at the tokens of now are patches."""

    def __init__(
        self, config: DecodersConfig, *, channels: int, latent_width: int, token_width: int, canvas: Canvas
    ) -> None:
        super().__init__()
        rows, columns = canvas.grid
        if canvas.height % rows or canvas.width % columns:
            raise ValueError(f"{canvas.width} x {canvas.height} does not divide into {columns} x {rows} patches")
        self.canvas = canvas
        self.channels = channels
        self.patch = (canvas.height // rows, canvas.width // columns)
        num_tokens = canvas.cameras * rows * columns
        self.latents = nn.Linear(latent_width, config.width)
        self.now = nn.Linear(token_width, config.width)
        self.positions = nn.Parameter(0.02 * torch.randn(1, num_tokens, config.width))
        self.blocks = nn.ModuleList(
            TransformerBlock(config.width, heads=config.heads, mlp_width=4 * config.width) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.width)
        self.leave = nn.Linear(config.width, channels * self.patch[0] * self.patch[1])

    def forward(
        self, latents: Float[Tensor, "B Q W"], *, now: Float[Tensor, "B N D"]
    ) -> Float[Tensor, "B c channels H W"]:
        num_latents = latents.shape[1]
        tokens = torch.cat((self.latents(latents), self.now(now) + self.positions), dim=1)  # B Q+N width
        for block in self.blocks:
            tokens = block(tokens)
        patches: Tensor = self.leave(self.norm(tokens[:, num_latents:]))  # B N channels·p·q
        rows, columns = self.canvas.grid
        return rearrange(
            patches,
            "b (c r s) (d p q) -> b c d (r p) (s q)",
            r=rows,
            s=columns,
            p=self.patch[0],
            q=self.patch[1],
            d=self.channels,
        )


def modality_loss(
    predicted: Float[Tensor, "B c channels H W"],
    target: Int[Tensor, "B c H W"] | Float[Tensor, "B c channels H W"],
    *,
    config: ModalityConfig,
    mask: Bool[Tensor, "B"],
    count: Float[Tensor, ""] | None = None,
    known: Bool[Tensor, "B c H W"] | None = None,
) -> Float[Tensor, ""]:
    """``target`` is whole numbers for classes; the mean over the items that ``mask`` marks, with ``count`` as in
    :func:`~mola_core.nets.averages.masked_mean`. An item's error is the mean over the cells that ``known`` marks, all where it is
    None, and 0 where it marks none.
    """
    if config.loss == "classes":
        error = functional.cross_entropy(predicted.flatten(0, 1), target.flatten(0, 1).long(), reduction="none")
    else:
        difference = (predicted - target).flatten(0, 1)
        error = difference.abs() if config.loss == "l1" else difference.square()
    each = _over_known(error.reshape(len(mask), -1, *error.shape[1:]), known=known)  # B
    return masked_mean(each, mask=mask, count=count)


def _over_known(
    error: Float[Tensor, "B c *channels H W"], *, known: Bool[Tensor, "B c H W"] | None
) -> Float[Tensor, "B"]:
    """The mean of each item's cells that are known."""
    if known is None:
        return error.flatten(1).mean(dim=1)
    channels = error.shape[2:-2].numel()  # classes have none
    cells = error.reshape(*known.shape[:2], channels, *known.shape[2:])
    summed = torch.where(known[:, :, None], cells, 0.0).flatten(1).sum(dim=1)
    mean: Tensor = summed / (known.flatten(1).sum(dim=1) * channels).clamp(min=1)
    return mean


RGB = ModalityConfig(loss="l2", channels=3)


class IdmPretraining(nn.Module):
    """A mixture with its decoders; where the tokens come from is the caller's affair."""

    def __init__(self, config: MixtureConfig, mixture: MixtureOfIdms, *, token_width: int, canvas: Canvas) -> None:
        super().__init__()
        self.config = config
        self.mixture = mixture
        self.canvas = canvas

        def decoder(channels: int) -> PictureDecoder:
            return PictureDecoder(
                config.decoders,
                channels=channels,
                latent_width=mixture.width,
                token_width=token_width,
                canvas=canvas,
            )

        self.rgb = decoder(RGB.channels)
        self.modalities = nn.ModuleDict(
            {
                member.name: nn.ModuleDict(
                    {target: decoder(config.decoders.modalities[target].channels) for target in member.targets}
                )
                for member in config.members
            }
        )

    def pictures(self, transition: Transition) -> dict[str, dict[str, Float[Tensor, "B c _ H W"]]]:
        """By member, then by ``rgb`` or modality: what is drawn of the future. For people; see ``losses``."""
        drawn = {}
        for name, actions in self.mixture(transition).items():
            drawn[name] = self._draw(name, actions.embeddings, now=transition.now)
        return drawn

    def losses(
        self,
        transition: Transition,
        *,
        future: Float[Tensor, "B c 3 H W"],
        labels: dict[str, Tensor],
        mask: Bool[Tensor, "B"],
        count: Float[Tensor, ""] | None = None,
        known: Mapping[str, Bool[Tensor, "B c H W"]] | None = None,
    ) -> dict[str, dict[str, Float[Tensor, ""]]]:
        """By member: ``rgb``, each of its targets, and ``commitment``; unweighted. ``count`` and ``known`` (by target) go with
        ``mask``, see :func:`modality_loss`.

        Raises:
            KeyError: ``labels`` lacks a target.
        """
        losses: dict[str, dict[str, Tensor]] = {}
        for name, actions in self.mixture(transition).items():
            drawn = self._draw(name, actions.embeddings, now=transition.now)
            terms = {"rgb": modality_loss(drawn.pop("rgb"), future, config=RGB, mask=mask, count=count)}
            for target, picture in drawn.items():
                terms[target] = modality_loss(
                    picture,
                    labels[target],
                    config=self.config.decoders.modalities[target],
                    mask=mask,
                    count=count,
                    known=(known or {}).get(target),
                )
            losses[name] = terms | {"commitment": actions.commitment_loss}
        return losses

    def _draw(
        self, name: str, embeddings: Float[Tensor, "B Q W"], *, now: Float[Tensor, "B N D"]
    ) -> dict[str, Float[Tensor, "B c _ H W"]]:
        modalities = self.modalities[name]
        if not isinstance(modalities, nn.ModuleDict):
            raise TypeError(f"not decoders: {modalities}")
        drawn = {"rgb": self.rgb(embeddings, now=now)}
        return drawn | {target: decoder(embeddings, now=now) for target, decoder in modalities.items()}
