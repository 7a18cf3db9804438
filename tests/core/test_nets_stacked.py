"""The small recipe's own networks: latents without training, frames as channels, tokens that say where."""

import pytest
import torch

from mola_core.nets.attention import Attention
from mola_core.nets.config import CosineConfig, KeypointsConfig, StackedVideoConfig
from mola_core.nets.cosine import BlockCosine
from mola_core.nets.keypoints import Keypoints
from mola_core.nets.protocols import Instruction
from mola_core.nets.stacked_video import StackedVideo, WordPool
from mola_core.nets.video_diffusion import imagine_latents


def _instruction(batch: int, *, width: int = 384, length: int = 6) -> Instruction:
    generator = torch.Generator().manual_seed(batch)
    tokens = torch.randn(batch, length, width, generator=generator)
    return Instruction(tokens=tokens, mask=torch.ones(batch, length, dtype=torch.bool), pooled=tokens.mean(dim=1))


def test_all_waves_give_the_picture_back() -> None:
    pictures = torch.rand(2, 3, 16, 24) * 2 - 1
    transform = BlockCosine(CosineConfig(luma=64, chroma=64))
    assert torch.allclose(transform.decode(transform.encode(pictures)), pictures, atol=1e-5)


def test_few_waves_keep_the_colour_of_a_block() -> None:
    picture = torch.tensor([0.8, -0.9, -0.7])[None, :, None, None].expand(1, 3, 8, 8)
    transform = BlockCosine(CosineConfig(luma=1, chroma=1))
    assert torch.allclose(transform.decode(transform.encode(picture)), picture, atol=1e-5)


def test_one_step_hardly_depends_on_the_noise_it_starts_from() -> None:
    torch.manual_seed(0)
    video = StackedVideo(StackedVideoConfig(height=32, width=48)).eval()
    present = torch.randn(2, *video.latent_shape)

    def features(seed: int) -> torch.Tensor:
        noise = torch.randn(2, video.num_frames, *video.latent_shape, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            return imagine_latents(
                video,
                present=present,
                camera=torch.tensor([0, 1]),
                instruction=_instruction(2),
                noise=noise,
            ).features

    first, second = features(1), features(2)
    assert first.shape == (2, 3, *video.feature_shape)
    assert (first - second).std() < 0.1 * first.std()


def test_a_full_pass_gives_clean_latents_and_the_same_features() -> None:
    torch.manual_seed(0)
    video = StackedVideo(StackedVideoConfig(height=32, width=48)).eval()
    told = {
        "sigma": torch.tensor([0.5]),
        "present": torch.randn(1, *video.latent_shape),
        "camera": torch.tensor([0]),
        "instruction": _instruction(1),
    }
    noisy = torch.randn(1, video.num_frames, *video.latent_shape)
    full, early = video.denoise(noisy, **told), video.denoise(noisy, **told, features_only=True)
    assert full.clean is not None
    assert full.clean.shape == noisy.shape
    assert early.clean is None
    assert torch.equal(full.features, early.features)


def test_padding_of_an_instruction_does_not_matter() -> None:
    pool = WordPool(384, 32, heads=4)
    tokens = torch.randn(1, 6, 384)
    mask = torch.tensor([[True, True, True, False, False, False]])
    changed = tokens.clone()
    changed[:, 3:] = 100.0
    assert torch.allclose(pool(tokens, mask=mask), pool(changed, mask=mask))


@pytest.mark.parametrize("blocks", [0, 1])
def test_keypoints_learn_where_the_named_thing_is_to_a_fraction_of_a_cell(blocks: int) -> None:
    """Two marks stand in every picture; the instruction says which of the two is meant."""
    torch.manual_seed(0)
    rows, columns = 6, 10
    config = KeypointsConfig(width=32, inner=32, keypoints=8, values=4, tokens_per_frame=2, blocks=blocks)
    keypoints = Keypoints(config, feature_shape=(8, rows, columns), frames=1, num_cameras=1, token_width=16)
    leave = torch.nn.Linear(2 * 32, 2)
    words = torch.randn(2, 1, 16)
    down, across = torch.meshgrid(torch.linspace(-1, 1, rows), torch.linspace(-1, 1, columns), indexing="ij")

    def batch(count: int) -> tuple[torch.Tensor, Instruction, torch.Tensor]:
        places = torch.rand(count, 2, 2) * 1.6 - 0.8
        square = (across - places[..., 0, None, None]).square() / 0.03 + (
            down - places[..., 1, None, None]
        ).square() / 0.08
        features = torch.zeros(count, 1, 1, 8, rows, columns)
        features[:, 0, 0, :2] = (-square).exp()
        which = torch.randint(2, (count,))
        tokens = words[which]
        asked = Instruction(tokens=tokens, mask=torch.ones(count, 1, dtype=torch.bool), pooled=tokens[:, 0])
        return features, asked, places[torch.arange(count), which]

    optimizer = torch.optim.Adam([*keypoints.parameters(), *leave.parameters()], lr=5e-3)
    for _ in range(300):
        features, asked, target = batch(64)
        error = (leave(keypoints(features, asked).flatten(1)) - target).abs().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    assert error < 0.08  # a cell is 0.22 wide and 0.4 high


def _reader(**settings) -> Keypoints:
    config = KeypointsConfig(width=16, inner=8, keypoints=4, values=4, tokens_per_frame=2, blocks=1, **settings)
    return Keypoints(config, feature_shape=(8, 6, 10), frames=3, num_cameras=2, token_width=16)


@pytest.mark.parametrize("imagined", ["whole", "coarse"])
def test_tokens_stand_in_the_order_of_cameras_and_frames(imagined: str) -> None:
    """A change of one frame of one camera changes its tokens alone; cells are those of the present."""
    torch.manual_seed(0)
    reader = _reader(imagined=imagined)
    tokens = torch.randn(2, 3, 16)
    asked = Instruction(tokens=tokens, mask=torch.ones(2, 3, dtype=torch.bool), pooled=tokens[:, 0])
    features = torch.randn(2, 2, 3, 8, 6, 10)
    before, cells = reader.read(features, asked)
    assert before.shape == (2, 2 * 3 * 2, 16)
    assert cells is not None
    assert cells.shape == (2, 2, 6, 10, 8)
    for camera in range(2):
        for frame in range(3):
            other = features.clone()
            other[:, camera, frame] = torch.randn(2, 8, 6, 10)
            after, seen = reader.read(other, asked)
            changed = (after != before).any(dim=2).all(dim=0).reshape(2, 3, 2)
            assert changed[camera, frame].all()
            assert int(changed.sum()) == 2
            assert seen is not None
            assert bool((seen != cells).any()) == (frame == 0)


def test_what_cannot_be_read_coarsely_is_refused() -> None:
    with pytest.raises(ValueError, match="need inner 4, as wide as the features, not 8"):
        Keypoints(
            KeypointsConfig(inner=8, blocks=1, imagined="coarse"),
            feature_shape=(4, 6, 10),
            frames=3,
            num_cameras=2,
            token_width=16,
        )
    with pytest.raises(ValueError, match="a grid of 5 x 6 cells has no means of 2 x 2"):
        Keypoints(KeypointsConfig(imagined="coarse"), feature_shape=(4, 6, 5), frames=3, num_cameras=2, token_width=16)


@pytest.mark.parametrize(("causal", "masked"), [(False, False), (False, True), (True, False)])
def test_attention_is_the_same_whether_a_gradient_is_wanted_or_not(*, causal: bool, masked: bool) -> None:
    torch.manual_seed(0)
    attention = Attention(32, heads=4)
    x = torch.randn(2, 5, 32)
    mask = torch.tensor([[True, True, True, True, False], [True, True, False, False, False]])
    told = {"mask": mask if masked else None, "causal": causal}
    with torch.no_grad():
        fused = attention(x, **told)
    assert torch.allclose(attention(x, **told), fused, atol=1e-6)
