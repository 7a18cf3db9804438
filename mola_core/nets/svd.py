"""Stable Video Diffusion as imagination (Blattmann et al. 2023; Video Prediction Policy for what is changed in it).

The instruction takes the place of the image embedding in cross-attention, the current picture's latents stand beside every noisy
frame, and predictive features are tapped on the way up: block 0 (nearest × 2) beside block 1. What comes after is not run for them.
"""

from typing import Any

import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from mola_core.nets.config import SvdConfig
from mola_core.nets.protocols import Denoised, Instruction
from mola_core.nets.video_diffusion import SIGMA_DATA, scaling_of
from mola_core.nets.word_attention import WordAttention, WordMemory, install_word_attention

LATENT_SCALE = 0.18215
"""The UNet's latents beside the autoencoder's; the picture it is conditioned on keeps the autoencoder's scale."""
LATENT_CHANNELS, LATENT_STRIDE = 4, 8
TAPPED_BLOCKS = 2


class SvdVideo(nn.Module):
    """UNet and autoencoder with fresh weights (see :mod:`mola_core.nets.importing`); a ``VideoBackbone``."""

    def __init__(self, config: SvdConfig) -> None:
        super().__init__()
        self.config = config
        shrink = LATENT_STRIDE * 2 ** (len(config.widths) - 1)
        if config.height % shrink or config.width % shrink:
            raise ValueError(f"views of {config.width} x {config.height} do not divide by {shrink}")
        grid = (config.height // LATENT_STRIDE, config.width // LATENT_STRIDE)
        levels_left = len(config.widths) - 1 - TAPPED_BLOCKS
        self.num_frames = config.num_frames
        self.sigma_max = config.sigma_max
        self.sigma_data = SIGMA_DATA
        self.latent_shape = (LATENT_CHANNELS, *grid)
        self.feature_shape = (config.widths[-1] + config.widths[-2], grid[0] >> levels_left, grid[1] >> levels_left)
        self.unet: Any = _unet(config)
        self.vae: Any = _vae(config)
        self._words: list[WordAttention] = install_word_attention(self.unet)
        self.asked: Tensor
        """What the UNet is told beside the noise level: frames a second, motion, noise on the picture."""
        # made here and not in the forward pass: a CUDA graph cannot capture a copy from the host
        asked = torch.tensor((float(config.fps), float(config.motion_bucket), 0.0))
        self.register_buffer("asked", asked, persistent=False)

    def encode(self, frames: Float[Tensor, "B T 3 H W"]) -> Float[Tensor, "B T c h w"]:
        latents: Tensor = self.vae.encode(rearrange(frames, "b t c h w -> (b t) c h w")).latent_dist.mode()
        return rearrange(latents, "(b t) c h w -> b t c h w", t=frames.shape[1]) * LATENT_SCALE

    def decode(self, latents: Float[Tensor, "B T c h w"]) -> Float[Tensor, "B T 3 H W"]:
        flat = rearrange(latents, "b t c h w -> (b t) c h w") / LATENT_SCALE
        frames: Tensor = self.vae.decode(flat, num_frames=latents.shape[1]).sample
        return rearrange(frames, "(b t) c h w -> b t c h w", t=latents.shape[1])

    def remember(self, instruction: Instruction) -> WordMemory:
        """Keys and values of the instruction in every cross-attention: once per instruction instead of once per picture.

        Not while the network is sharded: outside its blocks' calls their weights are not here.
        """
        words = _doubled(instruction)
        return WordMemory(tuple(attention.remember(words) for attention in self._words))

    def denoise(
        self,
        noisy: Float[Tensor, "B T c h w"],
        *,
        sigma: Float[Tensor, "B"],
        present: Float[Tensor, "B c h w"],
        camera: Int[Tensor, "B"],  # noqa: ARG002  one network for all cameras, which are told apart by what they see
        instruction: Instruction,
        features_only: bool = False,
        memory: WordMemory | None = None,
    ) -> Denoised:
        """``memory`` (of the same instruction) saves projecting its words again."""
        words = _doubled(instruction)
        for number, attention in enumerate(self._words):
            attention.tell(words if memory is None else memory.kept[number])
        scaling = scaling_of(sigma)
        shown = repeat(present / LATENT_SCALE, "b c h w -> b t c h w", t=noisy.shape[1])
        out, features = self._pass(
            torch.cat((scaling.c_in * noisy, shown), dim=2),
            level=scaling.c_noise,
            features_only=features_only,
        )
        clean = None if out is None else scaling.c_skip * noisy + scaling.c_out * out
        return Denoised(clean=clean, features=features)

    def _pass(
        self, x: Float[Tensor, "B T c2 h w"], *, level: Float[Tensor, "B"], features_only: bool
    ) -> tuple[Float[Tensor, "B T c h w"] | None, Float[Tensor, "B T F h2 w2"]]:
        batch, frames = x.shape[:2]
        told = self._embedding(level).repeat_interleave(frames, dim=0)  # BT E
        only_pictures = x.new_zeros(batch, frames)
        # attentions have been told the words; their place in the blocks' arguments must only have the right batch
        common = {"temb": told, "image_only_indicator": only_pictures}
        words = {"encoder_hidden_states": x.new_zeros(batch * frames, 1, 1)}
        x = self.unet.conv_in(rearrange(x, "b t c h w -> (b t) c h w"))
        skips = [x]
        for block in self.unet.down_blocks:
            x, outputs = block(x, **common, **(words if _has_words(block) else {}))
            skips += outputs
        x = self.unet.mid_block(x, **common, **words)
        taps = []
        for number, block in enumerate(self.unet.up_blocks):
            count = len(block.resnets)
            skips, taken = skips[:-count], tuple(skips[-count:])
            x = block(x, res_hidden_states_tuple=taken, **common, **(words if _has_words(block) else {}))
            if number < TAPPED_BLOCKS:
                taps.append(x)
            if number == TAPPED_BLOCKS - 1:
                features = torch.cat((functional.interpolate(taps[0], scale_factor=2.0), taps[1]), dim=1)
                features = rearrange(features, "(b t) f h w -> b t f h w", b=batch)
                if features_only:
                    return None, features
        out = self.unet.conv_out(self.unet.conv_act(self.unet.conv_norm_out(x)))
        return rearrange(out, "(b t) c h w -> b t c h w", b=batch), features

    def _embedding(self, level: Float[Tensor, "B"]) -> Float[Tensor, "B E"]:
        unet, dtype = self.unet, level.dtype
        asked = unet.add_time_proj(self.asked).to(dtype).reshape(1, -1)  # 1 3·256
        embedding: Tensor = unet.time_embedding(unet.time_proj(level).to(dtype)) + unet.add_embedding(asked)
        return embedding


def _doubled(instruction: Instruction) -> Float[Tensor, "B L E"]:
    """The words as wide as the network reads them, E = 2 · D."""
    return torch.cat((instruction.tokens, instruction.tokens), dim=-1)


def _has_words(block: nn.Module) -> bool:
    return bool(getattr(block, "has_cross_attention", False))


def _unet(config: SvdConfig) -> Any:
    import diffusers  # noqa: PLC0415  seconds that small models need not pay

    library: Any = diffusers  # typed in part only
    return library.UNetSpatioTemporalConditionModel(
        in_channels=2 * LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=config.widths,
        num_attention_heads=config.heads,
        layers_per_block=config.layers,
        cross_attention_dim=2 * config.token_width,
        num_frames=config.num_frames,
    )


def _vae(config: SvdConfig) -> Any:
    import diffusers  # noqa: PLC0415  see above

    library: Any = diffusers  # typed in part only
    return library.AutoencoderKLTemporalDecoder(
        down_block_types=("DownEncoderBlock2D",) * len(config.vae_widths),
        block_out_channels=config.vae_widths,
        layers_per_block=2,
        latent_channels=LATENT_CHANNELS,
        scaling_factor=LATENT_SCALE,
    )
