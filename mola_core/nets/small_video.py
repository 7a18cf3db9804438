"""The small imagination: a spatio-temporal UNet over the latents of a small autoencoder, behind the interface of the large one.

E is the width of the embedding that tells every block the noise level, the camera, the frame's place and the gist of the instruction.
"""

from math import prod

import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int
from torch import Tensor, nn

from mola_core.nets.autoencoder import Autoencoder
from mola_core.nets.config import SmallVideoConfig
from mola_core.nets.embeddings import NumberEmbedding
from mola_core.nets.protocols import Denoised, Instruction
from mola_core.nets.small_unet import SmallUnet
from mola_core.nets.video_diffusion import SIGMA_DATA, scaling_of


class SmallVideo(nn.Module):
    """Autoencoder and UNet; a ``VideoBackbone``."""

    def __init__(self, config: SmallVideoConfig) -> None:
        super().__init__()
        self.config = config
        shrink = 2 ** len(config.autoencoder.widths)
        grid = (config.height // shrink, config.width // shrink)
        deepest = 2 ** (len(config.widths) - 1)
        if config.height % shrink or config.width % shrink or prod(side % deepest for side in grid):
            raise ValueError(
                f"views of {config.width} x {config.height} do not divide by {shrink} and then by {deepest}"
            )
        self.num_frames = config.num_frames
        self.sigma_max = config.sigma_max
        self.sigma_data = SIGMA_DATA
        self.latent_shape = (config.autoencoder.latent_channels, *grid)
        finest = 2 ** config.tap_levels[-1]
        taps = sum(config.widths[level] for level in config.tap_levels)
        self.feature_shape = (taps, grid[0] // finest, grid[1] // finest)
        self.autoencoder = Autoencoder(config.autoencoder)
        width = 2 * config.widths[0]  # E
        self.level = NumberEmbedding(width, activation=nn.SiLU())
        self.camera = nn.Embedding(config.num_cameras, width)
        self.frame = nn.Embedding(config.num_frames, width)
        self.gist = nn.Linear(config.token_width, width)
        self.unet = SmallUnet(config, embedding_width=width)

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
        shown = repeat(present, "b c h w -> b t c h w", t=self.num_frames)
        embedding = self._embedding(scaling.c_noise, camera=camera, instruction=instruction)  # B T E
        out, features = self.unet(
            torch.cat((scaling.c_in * noisy, shown), dim=2),
            embedding=embedding,
            instruction=instruction,
            features_only=features_only,
        )
        if out is None:
            return Denoised(clean=None, features=features)
        clean = scaling.c_skip * noisy + scaling.c_out * out
        if self.config.predict == "change":
            clean = clean + (1 - scaling.c_skip) * shown
        return Denoised(clean=clean, features=features)

    def _embedding(
        self, c_noise: Float[Tensor, "B"], *, camera: Int[Tensor, "B"], instruction: Instruction
    ) -> Float[Tensor, "B T E"]:
        mask = instruction.mask[..., None].to(instruction.tokens.dtype)  # B L 1
        mean = (instruction.tokens * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)  # B D
        item = self.level(c_noise) + self.camera(camera) + self.gist(mean)  # B E
        out: Tensor = item[:, None] + self.frame.weight[None]  # B T E
        return out
