"""A small convolutional autoencoder: pictures to latents and back."""

from jaxtyping import Float
from torch import Tensor, nn

from mola_core.nets.batch_standard import BatchStandard2d
from mola_core.nets.config import AutoencoderConfig
from mola_core.nets.protocols import ItemDraws


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(8, width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(8, width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, x: Float[Tensor, "B D H W"]) -> Float[Tensor, "B D H W"]:
        out: Tensor = x + self.body(x)
        return out


class Autoencoder(nn.Module):
    """Pictures ↔ latents of zero mean and unit variance a channel.

    The last layer of the encoder is a batch norm without parameters: in training it measures the latents, in evaluation it is a fixed
    scaling, so a frozen autoencoder must stand in evaluation mode.
    """

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.latent_noise = config.latent_noise
        widths = config.widths
        down: list[nn.Module] = [nn.Conv2d(3, widths[0], 3, padding=1)]
        for width, wider in zip(widths, (*widths[1:], widths[-1]), strict=True):
            down += [_Residual(width), nn.Conv2d(width, wider, 3, stride=2, padding=1)]
        down += [_Residual(widths[-1]), nn.GroupNorm(8, widths[-1]), nn.SiLU()]
        self.encoder = nn.Sequential(*down, nn.Conv2d(widths[-1], config.latent_channels, 1))
        self.scaling = BatchStandard2d(config.latent_channels, momentum=0.01)
        up: list[nn.Module] = [nn.Conv2d(config.latent_channels, widths[-1], 3, padding=1), _Residual(widths[-1])]
        for wider, width in zip((*widths[1:], widths[-1])[::-1], widths[::-1], strict=True):
            up += [nn.Upsample(scale_factor=2.0), nn.Conv2d(wider, width, 3, padding=1), _Residual(width)]
        up += [nn.GroupNorm(8, widths[0]), nn.SiLU()]
        self.decoder = nn.Sequential(*up, nn.Conv2d(widths[0], 3, 3, padding=1))

    def encode(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B c h w"]:
        latents: Tensor = self.scaling(self.encoder(images))
        return latents

    def decode(self, latents: Float[Tensor, "B c h w"]) -> Float[Tensor, "B 3 H W"]:
        images: Tensor = self.decoder(latents)
        return images

    def forward(self, images: Float[Tensor, "B 3 H W"], *, draws: ItemDraws | None = None) -> Float[Tensor, "B 3 H W"]:
        """What remains of a picture; with ``draws``, of noisy latents, as in training."""
        latents = self.encode(images)
        if draws is not None:
            latents = latents + self.latent_noise * draws.normal("latent noise", latents.shape[1:])
        return self.decode(latents)
