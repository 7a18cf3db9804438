"""Wan2.2 5B as imagination (paper, table 12): a video diffusion transformer that continues a first frame.

The model was trained by flow matching: at flow noise s it sees ``(1 − s) · clean + s · noise`` and predicts ``noise − clean``. With
``s = sigma / (1 + sigma)`` that is the variance-exploding form of the other backbones, divided by ``1 + sigma``. The present is the
first latent frame, kept clean. Features are the tokens after one block in the middle; the blocks after it are not run for them.

The network is compared with diffusers' own pass at a small size; the real weights (``Wan-AI/Wan2.2-TI2V-5B-Diffusers``, taken by
:mod:`mola_core.nets.importing`) were not at hand.
"""

from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from mola_core.nets.config import WanConfig
from mola_core.nets.protocols import Denoised, Instruction
from mola_core.nets.video_diffusion import SIGMA_DATA

PATCH = 2
TIME_SCALE = 1000.0


class WanVideo(nn.Module):
    """Transformer and causal video autoencoder; a ``VideoBackbone`` whose T counts latent frames, the first of them the present."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        self.config = config
        shrink = config.spatial_stride * PATCH
        if config.height % shrink or config.width % shrink:
            raise ValueError(f"views of {config.width} x {config.height} do not divide by {shrink}")
        if (config.num_frames - 1) % config.temporal_stride:
            raise ValueError(f"{config.num_frames} frames are not one and a multiple of {config.temporal_stride}")
        grid = (config.height // config.spatial_stride, config.width // config.spatial_stride)
        self.num_frames = 1 + (config.num_frames - 1) // config.temporal_stride
        self.sigma_max = config.sigma_max
        self.sigma_data = SIGMA_DATA
        self.latent_shape = (config.latent_channels, *grid)
        self.feature_shape = (config.heads * config.head_width, grid[0] // PATCH, grid[1] // PATCH)
        self.transformer: Any = _transformer(config)
        self.vae: Any = _vae(config)
        self.latent_mean: Tensor
        self.latent_std: Tensor
        # of the published autoencoder, in its settings rather than among its weights
        self.register_buffer("latent_mean", torch.zeros(config.latent_channels))
        self.register_buffer("latent_std", torch.ones(config.latent_channels))

    def encode(self, frames: Float[Tensor, "B P 3 H W"]) -> Float[Tensor, "B T c h w"]:
        """P pictures, one and then fours, become T latent frames."""
        latents: Tensor = self.vae.encode(rearrange(frames, "b p c h w -> b c p h w")).latent_dist.mode()
        latents = rearrange(latents, "b c t h w -> b t c h w")
        return (latents - self.latent_mean[:, None, None]) / self.latent_std[:, None, None]

    def decode(self, latents: Float[Tensor, "B T c h w"]) -> Float[Tensor, "B P 3 H W"]:
        latents = latents * self.latent_std[:, None, None] + self.latent_mean[:, None, None]
        frames: Tensor = self.vae.decode(rearrange(latents, "b t c h w -> b c t h w")).sample
        return rearrange(frames, "b c p h w -> b p c h w")

    def denoise(
        self,
        noisy: Float[Tensor, "B T c h w"],
        *,
        sigma: Float[Tensor, "B"],
        present: Float[Tensor, "B c h w"],
        camera: Int[Tensor, "B"],  # noqa: ARG002  one network for all cameras
        instruction: Instruction,
        features_only: bool = False,
    ) -> Denoised:
        flow = (sigma / (1 + sigma))[:, None, None, None, None]  # B 1 1 1 1
        future = (noisy / (1 + sigma)[:, None, None, None, None])[:, 1:]
        mixed = torch.cat((present[:, None], future), dim=1)  # B T c h w
        tokens, features = self._blocks(mixed, flow=flow[:, 0, 0, 0, 0], instruction=instruction, partly=features_only)
        if tokens is None:
            return Denoised(clean=None, features=features)
        velocity = self._leave(*tokens)
        clean = torch.cat((present[:, None], future - flow * velocity[:, 1:]), dim=1)
        return Denoised(clean=clean, features=features)

    def _blocks(
        self, mixed: Float[Tensor, "B T c h w"], *, flow: Float[Tensor, "B"], instruction: Instruction, partly: bool
    ) -> tuple[tuple[Tensor, Tensor] | None, Float[Tensor, "B T F h2 w2"]]:
        """(tokens B N F and their time embedding) unless ``partly``, and the features."""
        net = self.transformer
        video = rearrange(mixed, "b t c h w -> b c t h w")
        tokens = rearrange(net.patch_embedding(video), "b d t h w -> b (t h w) d")
        cells = tokens.shape[1] // self.num_frames
        future = torch.arange(tokens.shape[1], device=flow.device) >= cells  # N
        time = TIME_SCALE * flow[:, None] * future  # B N; the present stands at 0
        words = instruction.tokens * instruction.mask[..., None]
        told, modulation, words, _ = net.condition_embedder(
            time.flatten(), words, None, timestep_seq_len=tokens.shape[1]
        )
        modulation = modulation.unflatten(2, (6, -1))
        turns = net.rope(video)
        for number, block in enumerate(net.blocks):
            tokens = block(tokens, words, modulation, turns)
            if number == self.config.tap_layer:
                rows = self.feature_shape[1]
                features = rearrange(tokens, "b (t h w) d -> b t d h w", t=self.num_frames, h=rows)
                if partly:
                    return None, features
        return (tokens, told), features

    def _leave(self, tokens: Float[Tensor, "B N F"], told: Float[Tensor, "B N F"]) -> Float[Tensor, "B T c h w"]:
        net = self.transformer
        shift, scale = (net.scale_shift_table[None] + told[:, :, None]).chunk(2, dim=2)  # B N 1 F
        patches = net.proj_out((net.norm_out(tokens.float()) * (1 + scale[:, :, 0]) + shift[:, :, 0]).type_as(tokens))
        velocity: Tensor = rearrange(
            patches,
            "b (t h w) (p q c) -> b t c (h p) (w q)",
            t=self.num_frames,
            h=self.feature_shape[1],
            p=PATCH,
            q=PATCH,
        )
        return velocity


def _transformer(config: WanConfig) -> Any:
    import diffusers  # noqa: PLC0415  seconds that small models need not pay

    library: Any = diffusers  # typed in part only
    return library.WanTransformer3DModel(
        patch_size=(1, PATCH, PATCH),
        num_attention_heads=config.heads,
        attention_head_dim=config.head_width,
        in_channels=config.latent_channels,
        out_channels=config.latent_channels,
        text_dim=config.token_width,
        ffn_dim=config.ffn_width,
        num_layers=config.layers,
    )


def _vae(config: WanConfig) -> Any:
    import diffusers  # noqa: PLC0415  see above

    library: Any = diffusers  # typed in part only
    return library.AutoencoderKLWan(
        base_dim=config.encoder_width,
        decoder_base_dim=config.decoder_width,
        z_dim=config.latent_channels,
        latents_mean=[0.0] * config.latent_channels,
        latents_std=[1.0] * config.latent_channels,
        is_residual=True,
        in_channels=12,
        out_channels=12,
        patch_size=2,
        scale_factor_spatial=config.spatial_stride,
        scale_factor_temporal=config.temporal_stride,
    )
