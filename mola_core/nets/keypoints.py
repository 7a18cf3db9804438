"""Visual tokens that say where: questions put by the instruction, answered by the mean place and the mean feature of what fits.

A spatial softmax whose queries know the instruction. Places come out to a fraction of a cell, which a resampler learns only from far
more data. k keypoints a frame and camera, n = h · w cells, v numbers of feature a keypoint.
"""

from collections.abc import Sequence

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
        coarse = config.imagined == "coarse"
        if coarse and config.blocks and feature != config.inner:
            raise ValueError(
                f"imagined frames without blocks need inner {feature}, as wide as the features, not {config.inner}"
            )
        if coarse and (rows % 2 or columns % 2):
            raise ValueError(f"a grid of {columns} x {rows} cells has no means of 2 x 2")
        places = num_cameras * frames
        self.places = [[camera * frames + frame for frame in range(frames)] for camera in range(num_cameras)]
        """Numbers of each camera's frames, in the order of the weights and tokens."""
        self.look = None
        if config.blocks:
            self.look = Look(feature, config, places=num_cameras if coarse else places)
            feature = config.inner
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
        nn.init.normal_(self.told.weight, std=0.02)
        nn.init.zeros_(self.told.bias)

    def forward(self, features: Float[Tensor, "B C T F h w"], instruction: Instruction) -> Float[Tensor, "B N D"]:
        return self.read(features, instruction)[0]

    def read(
        self, features: Float[Tensor, "B C T F h w"], instruction: Instruction
    ) -> tuple[Float[Tensor, "B N D"], Float[Tensor, "C B h w I"] | None]:
        """The tokens, and what the blocks have made of every cell of the present; None without blocks."""
        asked = functional.silu(self.words(instruction.tokens, mask=instruction.mask))  # B I
        told = rearrange(self.told(asked), "b (p two i) -> two p b 1 i", two=2, i=self.config.inner)
        read = self._coarsely if self.config.imagined == "coarse" else self._wholly
        tokens, present = read(features, asked, told)
        return rearrange(tokens, "n b d -> b n d").to(self.leave.dtype), None if self.look is None else present

    def _wholly(
        self, features: Float[Tensor, "B C T F h w"], asked: Float[Tensor, "B I"], told: Float[Tensor, "two P B 1 I"]
    ) -> tuple[Float[Tensor, "N B D"], Float[Tensor, "C B h w I"]]:
        x = _places_first(features)
        x = x if self.look is None else self.look(x, asked)
        return self._tokens(x, told, places=[place for camera in self.places for place in camera]), x[
            :: features.shape[2]
        ]

    def _coarsely(
        self, features: Float[Tensor, "B C T F h w"], asked: Float[Tensor, "B I"], told: Float[Tensor, "two P B 1 I"]
    ) -> tuple[Float[Tensor, "N B D"], Float[Tensor, "C B h w I"]]:
        """The present as ever; what is imagined without blocks, from means of 2×2 cells."""
        cameras, frames = features.shape[1:3]
        present = _places_first(features[:, :, :1])
        present = present if self.look is None else self.look(present, asked)
        means = functional.avg_pool2d(rearrange(features[:, :, 1:], "b c t f h w -> (b c t) f h w"), 2)
        imagined = _places_first(rearrange(means, "(b c t) f h w -> b c t f h w", c=cameras, t=frames - 1))
        now = self._tokens(present, told, places=[camera[0] for camera in self.places])
        later = self._tokens(imagined, told, places=[place for camera in self.places for place in camera[1:]])
        by_camera = [rearrange(tokens, "(c m) b d -> c m b d", c=cameras) for tokens in (now, later)]
        return rearrange(torch.cat(by_camera, dim=1), "c m b d -> (c m) b d"), present

    def _tokens(
        self,
        x: Float[Tensor, "p B h w F"],
        told: Float[Tensor, "two P B 1 I"],
        *,
        places: Sequence[int],
    ) -> Float[Tensor, "pm B D"]:
        """What is seen in ``x`` by the questions of ``places``."""
        grid = _grid(x)
        scale, shift = told[:, places]
        x = self.norm(x.flatten(2, 3))
        batch = x.shape[1]
        x = _by_item(torch.bmm(x.flatten(1, 2), self.enter[places].to(x.dtype)), batch=batch)  # p B n I
        x = functional.relu(x * (1 + scale) + shift).flatten(1, 2)
        score = _by_item(torch.bmm(x, self.score[places].to(x.dtype)), batch=batch)  # p B n k
        share = score.float().softmax(dim=2).transpose(2, 3)  # p B k n
        value = _by_item(torch.bmm(x, self.value[places].to(x.dtype)), batch=batch).float()
        what = torch.cat((grid.expand(*value.shape[:2], -1, -1), value), dim=-1)  # p B n 2+v
        with torch.autocast(what.device.type, enabled=False):  # eight bits would round places to a quarter of a pixel
            seen = torch.matmul(share, what)  # p B k 2+v
            seen = rearrange(seen, "p b (m k) v -> (p m) b (k v)", m=self.config.tokens_per_frame)
            leave, bias = self.leave[places].flatten(0, 1), self.bias[places].flatten(0, 1)
            return torch.bmm(seen, leave.to(seen.dtype)) + bias[:, None]


def _places_first(features: Float[Tensor, "B C T F h w"]) -> Float[Tensor, "p B h w F"]:
    """Places first and channels last: nothing that follows has to be copied into another order."""
    return rearrange(features, "b c t f h w -> (c t) b h w f")


def _grid(x: Float[Tensor, "p B h w F"]) -> Float[Tensor, "n 2"]:
    """Where each cell is, from -1 to 1 across and down the picture."""
    rows, columns = x.shape[2:4]
    down, across = torch.meshgrid(
        torch.linspace(-1, 1, rows, device=x.device), torch.linspace(-1, 1, columns, device=x.device), indexing="ij"
    )
    return torch.stack((across, down), dim=-1).flatten(0, 1)


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
