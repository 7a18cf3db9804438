"""Visual tokens that say where: questions put by the instruction, answered by the mean place and the mean feature of what fits.

A spatial softmax whose queries know the instruction. Places come out to a fraction of a cell, which a resampler learns only from far
more data. k keypoints a frame and camera, n = h · w cells, v numbers of feature a keypoint.
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mola_core.nets.config import KeypointsConfig
from mola_core.nets.protocols import Instruction
from mola_core.nets.stacked_video import Mix, WordPool


class Keypoints(nn.Module):
    """Features of C cameras and T frames → C · T · ``tokens_per_frame`` visual tokens."""

    def __init__(
        self,
        config: KeypointsConfig,
        *,
        feature_shape: tuple[int, int, int],
        frames: int,
        num_cameras: int,
        token_width: int,
    ) -> None:
        super().__init__()
        if config.keypoints % config.tokens_per_frame:
            raise ValueError(f"{config.keypoints} keypoints cannot be shared among {config.tokens_per_frame} tokens")
        self.config = config
        self.width = config.width
        self.num_tokens = num_cameras * frames * config.tokens_per_frame
        feature, rows, columns = feature_shape
        places = num_cameras * frames
        self.look = Look(feature, config, places=places) if config.blocks else None
        feature = config.inner if config.blocks else feature
        self.words = WordPool(token_width, config.inner, heads=4)
        self.norm = nn.LayerNorm(feature)
        self.enter = nn.Parameter(torch.randn(places, feature, config.inner) * feature**-0.5)
        self.told = nn.Linear(config.inner, places * 2 * config.inner)
        self.score = nn.Parameter(torch.randn(places, config.inner, config.keypoints) * config.inner**-0.5)
        self.value = nn.Parameter(torch.randn(places, config.inner, config.values) * config.inner**-0.5)
        per_token = config.keypoints // config.tokens_per_frame * (2 + config.values)
        self.leave = nn.Parameter(
            torch.randn(places, config.tokens_per_frame, per_token, config.width) * per_token**-0.5
        )
        self.bias = nn.Parameter(torch.zeros(places, config.tokens_per_frame, config.width))
        down, across = torch.meshgrid(torch.linspace(-1, 1, rows), torch.linspace(-1, 1, columns), indexing="ij")
        self.grid: Tensor
        self.register_buffer("grid", torch.stack((across, down), dim=-1).flatten(0, 1), persistent=False)  # n 2
        nn.init.normal_(self.told.weight, std=0.02)
        nn.init.zeros_(self.told.bias)

    def forward(self, features: Float[Tensor, "B C T F h w"], instruction: Instruction) -> Float[Tensor, "B N D"]:
        return self.read(features, instruction)[0]

    def read(
        self, features: Float[Tensor, "B C T F h w"], instruction: Instruction
    ) -> tuple[Float[Tensor, "B N D"], Float[Tensor, "C B h w I"] | None]:
        """The tokens, and what the blocks have made of every cell of the present; None without blocks."""
        config = self.config
        present = None
        asked = functional.silu(self.words(instruction.tokens, mask=instruction.mask))  # B I
        scale, shift = rearrange(self.told(asked), "b (p two i) -> two p b 1 i", two=2, i=config.inner)
        # places first and channels last from here on: nothing below has to be copied into another order
        x = rearrange(features, "b c t f h w -> (c t) b h w f")
        if self.look is not None:
            x = self.look(x, asked)
            present = x[:: features.shape[2]]
        x = self.norm(x.flatten(2, 3))
        batch = x.shape[1]
        x = _by_item(torch.bmm(x.flatten(1, 2), self.enter.to(x.dtype)), batch=batch)  # p B n I
        x = functional.relu(x * (1 + scale) + shift).flatten(1, 2)
        score = _by_item(torch.bmm(x, self.score.to(x.dtype)), batch=batch)  # p B n k
        share = score.float().softmax(dim=2).transpose(2, 3)  # p B k n
        value = _by_item(torch.bmm(x, self.value.to(x.dtype)), batch=batch).float()
        told = torch.cat((self.grid.expand(*value.shape[:2], -1, -1), value), dim=-1)  # p B n 2+v
        with torch.autocast(told.device.type, enabled=False):  # eight bits would round places to a quarter of a pixel
            seen = torch.matmul(share, told)  # p B k 2+v
            seen = rearrange(seen, "p b (m k) v -> (p m) b (k v)", m=config.tokens_per_frame)
            tokens = torch.bmm(seen, self.leave.flatten(0, 1).to(seen.dtype)) + self.bias.flatten(0, 1)[:, None]
        return rearrange(tokens, "n b d -> b n d").to(self.leave.dtype), present


class Look(nn.Module):
    """What stands around each cell, seen with the instruction in mind: residual blocks that all cameras and frames share."""

    def __init__(self, feature: int, config: KeypointsConfig, *, places: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(feature, config.inner, 1)
        self.place = nn.Parameter(0.02 * torch.randn(places, config.inner))
        self.blocks = nn.ModuleList(Mix(config.inner, embedding=config.inner) for _ in range(config.blocks))

    def forward(self, x: Float[Tensor, "p B h w F"], asked: Float[Tensor, "B I"]) -> Float[Tensor, "p B h w I"]:
        batch = x.shape[1]
        told = rearrange(asked + self.place[:, None], "p b i -> (p b) i")
        x = self.enter(x.contiguous().flatten(0, 1).permute(0, 3, 1, 2))  # pB I h w, channels last in memory
        for block in self.blocks:
            x = block(x, told)
        return rearrange(x, "(p b) i h w -> p b h w i", b=batch)


def _by_item(x: Float[Tensor, "p Bn I"], *, batch: int) -> Float[Tensor, "p B n I"]:
    return rearrange(x, "p (b n) i -> p b n i", b=batch)
