"""The video networks behind their one interface: what is left out for features, what is remembered, what is learned."""

import pytest
import torch
from diffusers import UNetSpatioTemporalConditionModel

from mola_core.nets.autoencoder import Autoencoder
from mola_core.nets.building import build_backbone
from mola_core.nets.config import AutoencoderConfig, SmallVideoConfig, StackedVideoConfig, SvdConfig, WanConfig
from mola_core.nets.protocols import Instruction
from mola_core.nets.svd import LATENT_SCALE
from mola_core.nets.video_diffusion import denoising_loss, imagine_latents, karras_sigmas, scaling_of
from tests.nets.conftest import TINY

SVD = SvdConfig(
    height=64,
    width=64,
    num_frames=3,
    token_width=16,
    widths=(32, 32, 64, 64),
    heads=(1, 1, 2, 2),
    layers=1,
    vae_widths=(32, 32, 32, 32),
)
WAN = WanConfig(
    height=64,
    width=64,
    num_frames=5,
    token_width=16,
    heads=2,
    head_width=16,
    ffn_width=64,
    layers=3,
    tap_layer=1,
    latent_channels=8,
    encoder_width=8,
    decoder_width=8,
)
STACKED = StackedVideoConfig(
    height=32, width=48, num_frames=3, token_width=16, width_fine=16, width_coarse=16, embedding=16, feature_width=8
)
BACKBONES = {"small": TINY.backbone, "svd": SVD, "wan": WAN}


def words(batch, length=5):
    mask = torch.ones(batch, length, dtype=torch.bool)
    return Instruction(tokens=torch.randn(batch, length, 16), mask=mask, pooled=torch.randn(batch, 12))


def shown(backbone, batch=2):
    return {
        "present": torch.randn(batch, *backbone.latent_shape),
        "camera": torch.arange(batch) % 2,
        "instruction": words(batch),
    }


def shaken(network):
    """Frozen, and moved away from weights that start at zero and would hide a difference."""
    network.eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.add_(0.01 * torch.randn_like(parameter))
    return network


@pytest.fixture(params=BACKBONES)
def backbone(request):
    return shaken(build_backbone(BACKBONES[request.param]))


def test_features_alone_are_those_of_the_whole_pass(backbone):
    given = shown(backbone)
    noisy = 10 * torch.randn(2, backbone.num_frames, *backbone.latent_shape)
    sigma = torch.tensor([10.0, 0.5])

    whole = backbone.denoise(noisy, sigma=sigma, **given)
    alone = backbone.denoise(noisy, sigma=sigma, **given, features_only=True)

    assert whole.features.shape == (2, backbone.num_frames, *backbone.feature_shape)
    assert whole.clean.shape == noisy.shape
    assert alone.clean is None
    assert torch.equal(alone.features, whole.features)


def test_pictures_become_latents_and_pictures_again(backbone):
    view = backbone.config
    pictures = torch.rand(1, view.num_frames, 3, view.height, view.width) * 2 - 1

    latents = backbone.encode(pictures)

    assert latents.shape == (1, backbone.num_frames, *backbone.latent_shape)
    assert backbone.decode(latents).shape == pictures.shape
    assert backbone.encode(pictures[:, :1]).shape == (1, 1, *backbone.latent_shape)


def test_words_and_present_matter(backbone):
    given = shown(backbone)
    noise = torch.randn(2, backbone.num_frames, *backbone.latent_shape)

    def imagined(**changes):
        return imagine_latents(backbone, noise=noise, **{**given, **changes}, features_only=False).clean

    assert torch.equal(imagined(), imagined())
    assert not torch.allclose(imagined(), imagined(instruction=words(2)))
    assert not torch.allclose(imagined(), imagined(present=torch.randn(2, *backbone.latent_shape)))


@pytest.mark.parametrize("config", [TINY.backbone, STACKED], ids=lambda config: config.kind)
def test_the_camera_matters_to_networks_that_number_theirs(config):
    """Each item its own; the published ones tell cameras apart by what they see."""
    backbone = shaken(build_backbone(config))
    given = shown(backbone)
    noise = torch.randn(2, backbone.num_frames, *backbone.latent_shape)

    def imagined(*camera):
        numbered = {**given, "camera": torch.tensor(camera)}
        return imagine_latents(backbone, noise=noise, **numbered, features_only=False).clean

    before, after = imagined(0, 1), imagined(0, 0)
    assert torch.allclose(before[0], after[0], rtol=0.0, atol=1e-6)
    assert not torch.allclose(before[1], after[1])


def test_more_steps_end_where_the_last_guess_is_clean(backbone):
    given = shown(backbone)
    noise = torch.randn(2, backbone.num_frames, *backbone.latent_shape)

    one = imagine_latents(backbone, noise=noise, **given, steps=1, features_only=False).clean
    three = imagine_latents(backbone, noise=noise, **given, steps=3, features_only=False).clean

    assert torch.isfinite(three).all()
    assert not torch.allclose(one, three)
    assert karras_sigmas(1, sigma_max=80.0) == pytest.approx([80.0, 0.0])
    assert karras_sigmas(3, sigma_max=80.0)[::2] == pytest.approx([80.0, 0.002])


def test_words_of_the_padding_are_not_read():
    small = shaken(build_backbone(TINY.backbone))
    given = shown(small)
    mask = torch.arange(5)[None].expand(2, -1) < 3
    said = Instruction(tokens=given["instruction"].tokens, mask=mask, pooled=given["instruction"].pooled)
    padded = Instruction(tokens=torch.where(mask[..., None], said.tokens, 99.0), mask=mask, pooled=said.pooled)
    noise = torch.randn(2, small.num_frames, *small.latent_shape)

    plain = imagine_latents(small, noise=noise, **{**given, "instruction": said}).features
    other = imagine_latents(small, noise=noise, **{**given, "instruction": padded}).features

    assert torch.allclose(plain, other, atol=1e-6)


def test_svd_is_diffusers_network_and_scaling():
    """Beside the library's own forward pass, in double precision because fresh weights amplify rounding."""
    ours = build_backbone(SVD).eval().double().requires_grad_(False)
    theirs = UNetSpatioTemporalConditionModel(
        in_channels=8,
        out_channels=4,
        block_out_channels=SVD.widths,
        num_attention_heads=SVD.heads,
        layers_per_block=SVD.layers,
        cross_attention_dim=32,
        num_frames=SVD.num_frames,
    ).double()
    theirs.load_state_dict(ours.unet.state_dict())
    noisy, sigma = 700 * torch.randn(2, 3, 4, 8, 8, dtype=torch.float64), torch.tensor([700.0, 2.0]).double()
    present, tokens = torch.randn(2, 4, 8, 8).double(), torch.randn(2, 5, 16).double()
    said = Instruction(tokens=tokens, mask=torch.ones(2, 5, dtype=torch.bool), pooled=torch.zeros(2, 1))

    clean = ours.denoise(noisy, sigma=sigma, present=present, camera=torch.zeros(2), instruction=said).clean
    remembered = ours.denoise(
        noisy, sigma=sigma, present=present, camera=torch.zeros(2), instruction=said, memory=ours.remember(said)
    ).clean

    s = sigma[:, None, None, None, None]
    shown_beside = (present / LATENT_SCALE)[:, None].expand(-1, 3, -1, -1, -1)
    asked = torch.tensor([[4.0, 127.0, 0.0]] * 2).double()
    with torch.no_grad():
        out = theirs(
            torch.cat((noisy / (s**2 + 1).sqrt(), shown_beside), dim=2),
            0.25 * sigma.log(),
            torch.cat((tokens, tokens), dim=-1),
            asked,
        ).sample
    torch.testing.assert_close(clean, noisy / (s**2 + 1) - out * s / (s**2 + 1).sqrt(), rtol=1e-8, atol=1e-8)
    assert torch.equal(remembered, clean)


def test_wan_is_diffusers_network_and_keeps_the_present():
    ours = build_backbone(WAN).eval().requires_grad_(False)
    given = shown(ours)
    sigma = torch.tensor([700.0, 1.0])
    s = sigma[:, None, None, None, None]
    noisy = s * torch.randn(2, 2, *ours.latent_shape)

    clean = ours.denoise(noisy, sigma=sigma, **given).clean

    flow = s / (1 + s)
    mixed = torch.cat((given["present"][:, None], (noisy / (1 + s))[:, 1:]), dim=1)
    time = torch.cat((torch.zeros(2, 4), 1000 * flow[:, :, 0, 0, 0].expand(-1, 4)), dim=1)
    velocity = ours.transformer(mixed.transpose(1, 2), time, given["instruction"].tokens).sample.transpose(1, 2)
    torch.testing.assert_close(clean[:, 1:], (mixed - flow * velocity)[:, 1:])
    assert torch.equal(clean[:, 0], given["present"])


def test_scaling_undoes_itself_for_a_network_that_knows_the_answer():
    sigma = torch.tensor([0.1, 1.0, 80.0])
    clean, noise = torch.randn(3, 2, 4, 4, 4), torch.randn(3, 2, 4, 4, 4)
    s = sigma[:, None, None, None, None]
    scaling = scaling_of(sigma)
    velocity = (s * clean - noise) / (1 + s**2).sqrt() * -1  # what v-prediction means at this level

    guess = scaling.c_skip * (clean + s * noise) + scaling.c_out * velocity

    torch.testing.assert_close(guess, clean, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_scales_the_highest_noise_level_as_full_precision_does(dtype: torch.dtype):
    sigma = torch.tensor([0.1, 700.0, 1000.0])
    half, full = scaling_of(sigma.to(dtype)), scaling_of(sigma)
    for name in ("c_in", "c_out", "c_noise"):
        got, wanted = getattr(half, name), getattr(full, name)
        assert got.dtype is dtype
        torch.testing.assert_close(got.float(), wanted, rtol=2e-2, atol=0)


def test_the_small_network_learns_a_future_from_words():
    """Two instructions, two futures: within a few steps the words decide which is imagined from pure noise."""
    config = SmallVideoConfig.model_validate({**TINY.backbone.model_dump(), "num_frames": 2})
    small = build_backbone(config).train()
    said = words(2)
    future = torch.randn(2, 2, *small.latent_shape)
    given = {"present": future[:, 0].mean(dim=0, keepdim=True).expand(2, -1, -1, -1), "camera": torch.zeros(2).long()}
    optimizer = torch.optim.AdamW(small.unet.parameters(), lr=3e-3)

    for _ in range(60):
        sigma = (2.0 + 1.5 * torch.randn(2)).exp()
        loss = denoising_loss(small, future, **given, instruction=said, sigma=sigma, noise=torch.randn_like(future))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    noise = torch.randn_like(future)
    with torch.no_grad():
        guess = imagine_latents(small.eval(), noise=noise, **given, instruction=said, features_only=False).clean
    own = (guess - future).square().mean()
    other = (guess - future.flip(0)).square().mean()
    assert own < 0.3 * other


def test_latents_of_the_autoencoder_have_unit_variance_once_trained():
    coder = Autoencoder(AutoencoderConfig(widths=(8, 16), latent_channels=4)).train()
    pictures = torch.rand(16, 3, 16, 16) * 0.3
    for _ in range(400):
        coder.encode(pictures)
    latents = coder.eval().encode(pictures)
    assert latents.mean(dim=(0, 2, 3)).abs().max() < 0.1
    assert (latents.std(dim=(0, 2, 3)) - 1).abs().max() < 0.1


def test_frames_that_do_not_exist_do_not_count():
    small = build_backbone(TINY.backbone).eval()
    given = shown(small)
    clean, noise = torch.randn(2, 3, *small.latent_shape), torch.randn(2, 3, *small.latent_shape)
    mask = torch.tensor([[True, True, False]] * 2)

    def loss(future):
        noisy_part = {**given, "sigma": torch.full((2,), 80.0), "noise": noise, "mask": mask}
        return denoising_loss(small, future, **noisy_part)

    changed = clean.clone()
    changed[:, 2] += 1
    # fresh weights guess from the noise alone, so only the target of frame 2 differs
    assert torch.allclose(loss(clean), loss(changed), rtol=1e-3)
    changed[:, 1] += 1
    assert not torch.allclose(loss(clean), loss(changed), rtol=1e-3)


@pytest.mark.parametrize(
    ("config", "words_of_it"),
    [
        (SmallVideoConfig(height=100), "do not divide by 8"),
        (SVD.model_copy(update={"height": 72}), "do not divide by 64"),
        (WAN.model_copy(update={"num_frames": 6}), "not one and a multiple of 4"),
    ],
)
def test_views_that_do_not_divide_are_refused(config, words_of_it):
    with pytest.raises(ValueError, match=words_of_it):
        build_backbone(config)
