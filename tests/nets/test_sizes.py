"""The full-size model has the paper's size; nothing of it is allocated here."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from mola_core.nets.mola import build_mola
from mola_core.training.recipes import recipe_named
from mola_core.training.recipes.full import full


@pytest.fixture(scope="module")
def mola():
    with FakeTensorMode():
        return build_mola(full().model)


def millions(*modules):
    return sum(parameter.numel() for module in modules for parameter in module.parameters()) / 1e6


def test_the_parts_have_the_papers_sizes(mola):
    """Table 8: video 1.53 B, MoIDM 90.58 M, action head 22.90 M."""
    assert millions(mola.backbone.unet, mola.tokens) == pytest.approx(1530, rel=0.02)
    assert millions(mola.mixture) == pytest.approx(90.58, rel=0.02)
    assert millions(mola.head) == pytest.approx(22.90, rel=0.02)


def test_they_are_the_releases_to_the_parameter(mola):
    assert millions(mola.backbone.unet) == pytest.approx(1524.62, abs=0.005)
    assert millions(mola.backbone.vae) == pytest.approx(97.74, abs=0.005)
    assert millions(mola.visual) == pytest.approx(17.71, abs=0.005)
    assert millions(mola.mixture.members["flow"]) == pytest.approx(30.19, abs=0.005)


def test_wan_has_its_published_size():
    with FakeTensorMode():
        wan = build_mola(recipe_named("full.wan").model)
    assert millions(wan.backbone.transformer) == pytest.approx(5000, rel=0.001)


def test_nothing_was_allocated(mola):
    assert all(type(parameter.data).__name__ == "FakeTensor" for parameter in mola.parameters())
    assert sum(parameter.numel() * 4 for parameter in mola.parameters()) > 6e9  # bytes that this machine need not have


def test_the_shapes_of_the_line_are_the_releases(mola):
    assert mola.backbone.feature_shape == (2560, 16, 16)
    assert mola.tokens.num_tokens == 256
    assert mola.visual.num_tokens == 224
    assert mola.mixture.num_latents == 24
    assert mola.mixture.members["flow"].transformer.positions.shape == torch.Size([1, 521, 768])
