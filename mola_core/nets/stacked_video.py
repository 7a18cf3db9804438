"""The smallest imagination: all frames at once as channels of one convolutional UNet, whose cost hardly grows with their number.

For few frames and few cores. The latents are a fixed cosine transform, so nothing has to be trained before it, and what it is shown
is exact. Every frame has features of its own, from which its latents follow by one linear layer: the features of frame 0
hold the present to the sub-cell, those of later frames what is imagined there. E is the width of the embedding as in ``small_video``.
"""

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from mola_core.nets.config import StackedVideoConfig
from mola_core.nets.cosine import BLOCK, BlockCosine
from mola_core.nets.embeddings import NumberEmbedding
from mola_core.nets.protocols import Denoised, Instruction
from mola_core.nets.small_unet import silence
from mola_core.nets.video_diffusion import SIGMA_DATA, scaling_of


class StackedVideo(nn.Module):
    """A ``VideoBackbone``; h w are the picture over 8."""

    def __init__(self, config: StackedVideoConfig) -> None:
        super().__init__()
        self.config = config
        if config.height % (2 * BLOCK) or config.width % (2 * BLOCK):
            raise ValueError(f"views of {config.width} x {config.height} do not divide by {2 * BLOCK}")
        grid = (config.height // BLOCK, config.width // BLOCK)
        self.num_frames = config.num_frames
        self.sigma_max = config.sigma_max
        self.sigma_data = SIGMA_DATA
        self.autoencoder = BlockCosine(config.latents)
        self.latent_shape = (config.latents.channels, *grid)
        self.feature_shape = (config.feature_width, *grid)
        channels, frames, fine, coarse = (
            config.latents.channels,
            config.num_frames,
            config.width_fine,
            config.width_coarse,
        )
        self.level = NumberEmbedding(config.embedding, activation=nn.SiLU())  # E
        self.camera = nn.Embedding(config.num_cameras, config.embedding)
        self.words = WordPool(config.token_width, config.embedding, heads=4)
        self.place = nn.Parameter(0.02 * torch.randn(1, fine, *grid))
        self.enter = nn.Conv2d((1 + frames) * channels, fine, 3, padding=1)
        self.down = nn.ModuleList(Mix(fine, embedding=config.embedding) for _ in range(config.blocks))
        self.shrink = nn.Conv2d(fine, coarse, 2, stride=2)
        self.middle = nn.ModuleList(
            Mix(coarse, embedding=config.embedding, overview=True) for _ in range(config.blocks_coarse)
        )
        self.grow = nn.Conv2d(coarse, 4 * fine, 1)
        self.up = nn.ModuleList(Mix(fine, embedding=config.embedding) for _ in range(config.blocks))
        self.norm = ChannelNorm(fine)
        self.features = nn.Conv2d(fine, frames * config.feature_width, 1)
        self.leave = nn.Conv2d(frames * config.feature_width, frames * channels, 1, groups=frames)

    def encode(self, frames: Float[Tensor, "B T 3 H W"]) -> Float[Tensor, "B T c h w"]:
        latents = self.autoencoder.encode(rearrange(frames, "b t c h w -> (b t) c h w"))
        return rearrange(latents, "(b t) c h w -> b t c h w", t=frames.shape[1])

    def decode(self, latents: Float[Tensor, "B T c h w"]) -> Float[Tensor, "B T 3 H W"]:
        frames = self.autoencoder.decode(rearrange(latents, "b t c h w -> (b t) c h w"))
        return rearrange(frames, "(b t) c h w -> b t c h w", t=latents.shape[1])

    def denoise(
        self,
        noisy: Float[Tensor, "B T c h w"],
        *,
        sigma: Float[Tensor, "B"],
        present: Float[Tensor, "B c h w"],
        camera: Int[Tensor, "B"],
        instruction: Instruction,
        features_only: bool = False,
    ) -> Denoised:
        scaling = scaling_of(sigma)
        told = (
            self.level(scaling.c_noise) + self.camera(camera) + self.words(instruction.tokens, mask=instruction.mask)
        )  # B E
        shrunk = (
            scaling.c_skip * noisy
        )  # what of it is worth believing: nearly nothing at the first step, all at the last
        x = torch.cat((present, rearrange(shrunk, "b t c h w -> b (t c) h w")), dim=1)
        x = self.enter(x.contiguous(memory_format=torch.channels_last)) + self.place  # B D h w
        for block in self.down:
            x = block(x, told)
        coarse = self.shrink(x)
        for block in self.middle:
            coarse = block(coarse, told)
        x = x + functional.pixel_shuffle(self.grow(coarse), 2)
        for block in self.up:
            x = block(x, told)
        stacked = self.features(self.norm(x))  # B T·F h w
        features = rearrange(stacked, "b (t f) h w -> b t f h w", t=self.num_frames)
        if features_only:
            return Denoised(clean=None, features=features)
        out = rearrange(self.leave(stacked), "b (t c) h w -> b t c h w", t=self.num_frames)
        clean = scaling.c_skip * noisy + scaling.c_out * out + (1 - scaling.c_skip) * present[:, None]
        return Denoised(clean=clean, features=features)


class WordPool(nn.Module):
    """A sentence as one vector: a few learned questions to its words, so that the order of two colours is not lost."""

    def __init__(self, token_width: int, width: int, *, heads: int) -> None:
        super().__init__()
        self.ask = nn.Linear(token_width, heads)
        self.leave = nn.Linear(heads * token_width, width)

    def forward(self, tokens: Float[Tensor, "B L D"], *, mask: Bool[Tensor, "B L"]) -> Float[Tensor, "B E"]:
        asked = self.ask(tokens).masked_fill(~mask[..., None], -1e4).softmax(dim=1)  # B L heads
        out: Tensor = self.leave(torch.einsum("blh,bld->bhd", asked, tokens).flatten(1))
        return out


class ChannelNorm(nn.Module):
    """Layer norm over the channels of every cell."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Float[Tensor, "B D h w"]) -> Float[Tensor, "B D h w"]:
        out: Tensor = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return out


class Mix(nn.Module):
    """Two 3×3 convolutions; what is told, and on request the whole picture's mean, scales and shifts the channels between them."""

    def __init__(self, width: int, *, embedding: int, overview: bool = False) -> None:
        super().__init__()
        self.norm = ChannelNorm(width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.told = nn.Linear(embedding, 2 * width)
        self.overview = nn.Linear(width, 2 * width) if overview else None
        self.second = nn.Conv2d(width, width, 3, padding=1)
        silence(self.second)

    def forward(self, x: Float[Tensor, "B D h w"], told: Float[Tensor, "B E"]) -> Float[Tensor, "B D h w"]:
        normed = self.norm(x)
        change = self.told(functional.silu(told))
        if self.overview is not None:
            change = change + self.overview(normed.mean(dim=(2, 3)))
        scale, shift = change[:, :, None, None].chunk(2, dim=1)
        out: Tensor = x + self.second(functional.relu(self.first(normed) * (1 + scale) + shift))
        return out
