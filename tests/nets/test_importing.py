"""The published weights: every name accounted for, and the same numbers out of our modules."""

import pickle
import sys
import types

import pytest
import torch
from safetensors.torch import save_file
from torch._subclasses.fake_tensor import FakeTensorMode

from mola_core.nets.config import EdmHeadConfig, FeatureTokensConfig, MixtureConfig, MolaConfig, VideoFormerConfig
from mola_core.nets.importing.plan import ImportRefusedError, translated
from mola_core.nets.importing.reading import read_tensors
from mola_core.nets.importing.release import ReleaseFiles, action_model_plan, imported
from mola_core.nets.mola import build_mola
from mola_core.nets.protocols import Instruction
from mola_core.training.recipes import recipe_named
from tests.nets import published
from tests.nets.conftest import DIT, IDM, TINY
from tests.nets.test_imagination import SVD, WAN

RELEASE_DIT = DIT.model_copy(update={"causal": True, "causal_context": True, "words": False, "encoder_layers": 2})
SMALL = MolaConfig(
    horizon=5,
    action_size=3,
    state_size=0,
    language=TINY.language,
    backbone=TINY.backbone,
    visual=VideoFormerConfig(width=32, depth=2, heads=2, head_width=16, queries_per_frame=2),
    mixture=MixtureConfig(
        tokens=FeatureTokensConfig(width=24, future_frame=2), idm=IDM, decoders=TINY.mixture.decoders
    ),
    head=EdmHeadConfig(dit=RELEASE_DIT),
)
CELLS, FEATURES = 8 * 12, 40
IDM_SHAPES = published.idm_shapes(queries=2, tokens=CELLS, width_in=24, width=32, layers=1, inner=64, codes=16, code=8)
SHAPES = published.action_model_shapes(
    idm=IDM_SHAPES,
    former=published.former_shapes(width_in=FEATURES, width=32, depth=2, inner=32, frames=3, queries=2),
    head=published.head_shapes(width=32, layers=2, goal=12, latent=32, visual=6, visual_width=32, rows=5, actions=3),
    feature_width=FEATURES,
    token_width=24,
)


def drawn(shapes):
    return {name: 0.3 * torch.randn(shape) for name, shape in shapes.items()}


def shapes_of(model):
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(0)
    return drawn(SHAPES)


@pytest.fixture(scope="module")
def model(weights, tmp_path_factory):
    """Ours, with the weights of a published action model of small size."""
    file = tmp_path_factory.mktemp("released") / "last.pt"
    torch.save({"model": weights}, file)
    model = build_mola(SMALL).eval()
    own = imported(ReleaseFiles(policy=file), SMALL, shapes=shapes_of(model))
    left = model.load_state_dict(own, strict=False)
    assert left.unexpected_keys == []
    assert {name.partition(".")[0] for name in left.missing_keys} == {"backbone"}
    return model


def test_every_name_and_shape_of_the_release_fits_the_full_model():
    recipe = recipe_named("full.release")
    with FakeTensorMode():
        model = build_mola(recipe.model)
        shapes = published.action_model_shapes(
            idm=published.idm_shapes(), former=published.former_shapes(), head=published.head_shapes()
        )
        source = {name: torch.empty(shape) for name, shape in shapes.items()}
        own = translated(source, action_model_plan(recipe.model), shapes=shapes_of(model), where="the release")
    assert set(own) == {name for name in model.state_dict() if not name.startswith("backbone.")}
    taken = sum(value.numel() for name, value in source.items() if "clip_rn50" not in name and "TVP" not in name)
    assert taken == pytest.approx((90.58 + 22.90 + 17.71 + 3.67) * 1e6, rel=1e-3)


def test_inverse_dynamics_models_give_the_published_latent_actions(model, weights):
    now, future = torch.randn(3, CELLS, 24), torch.randn(3, CELLS, 24)
    for member in ("flow", "depth", "semantic"):
        below = published.Published(weights, f"latent_{member}_motion_tokenizer.")
        theirs, indices = published.idm(below, now, future, heads=2, layers=1)
        with torch.no_grad():
            ours = model.mixture.members[member](now, future)
        assert torch.equal(ours.code_indices, indices)
        torch.testing.assert_close(ours.embeddings, theirs, rtol=1e-4, atol=1e-5)


def test_the_video_former_gives_the_published_tokens(model, weights):
    features = torch.randn(2, 2, 3, FEATURES, 8, 12)
    laid_out = features.permute(0, 2, 1, 4, 5, 3).flatten(2, 4)  # B T (C h w) F
    theirs = published.video_former(
        published.Published(weights, "Video_Former."), laid_out, heads=2, time_heads=2, depth=2
    )
    with torch.no_grad():
        ours = model.visual(features)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_the_head_gives_the_published_clean_guess(model, weights, seen):
    condition = model.condition(seen(SMALL), imagination=_imagined(model)).head
    noisy, sigma = torch.randn(2, 5, 3), torch.tensor([3.0, 0.05])
    theirs = published.denoised(
        published.Published(weights, "model.inner_model."),
        noisy,
        sigma,
        goal=condition.instruction.pooled,
        visual=condition.visual,
        latents=condition.latent_actions,
        heads=4,
        layers=2,
        sigma_data=0.5,
    )
    with torch.no_grad():
        context = model.head.transformer.context(condition)
        ours = model.head.denoised(noisy, sigma=sigma, context=context)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def _imagined(model):
    observation_noise = torch.randn(2, 2, 3, *model.backbone.latent_shape)
    images = torch.rand(2, 2, 3, 32, 48)
    said = Instruction(torch.randn(2, 6, 16), torch.ones(2, 6, dtype=torch.bool), torch.randn(2, 12))
    with torch.no_grad():
        return model.imagine(images, instruction=said, noise=observation_noise)


def test_models_of_stage_two_leave_their_decoders_behind(tmp_path):
    model = build_mola(SMALL)
    extra = {"decoder.blocks.0.weight": torch.zeros(2), "hidden_state_decoder.a": torch.zeros(2)}
    torch.save(drawn(IDM_SHAPES) | extra, tmp_path / "flow.pt")
    own = imported(ReleaseFiles(idms={"flow": tmp_path / "flow.pt"}), SMALL, shapes=shapes_of(model))
    assert {name.split(".")[:3][-1] for name in own} == {"flow"}
    assert bool(own["mixture.members.flow.codebook.started"])


def test_a_video_model_is_taken_from_its_folder(tmp_path):
    config = MolaConfig.model_validate({**SMALL.model_dump(), "backbone": SVD.model_dump(), "mixture": None})
    model = build_mola(config)
    for part in ("unet", "vae"):
        (tmp_path / part).mkdir()
        network = getattr(model.backbone, part)
        halves = {name: value.half().contiguous() for name, value in network.state_dict().items()}
        save_file(halves, tmp_path / part / "diffusion_pytorch_model.fp16.safetensors")
    own = imported(ReleaseFiles(video=tmp_path), config, shapes=shapes_of(model))
    assert set(own) == {name for name in model.state_dict() if name.startswith("backbone.")}


def test_wan_is_taken_from_shards_with_the_statistics_of_its_latents(tmp_path):
    config = MolaConfig.model_validate({**SMALL.model_dump(), "backbone": WAN.model_dump(), "mixture": None})
    model = build_mola(config)
    model.backbone.transformer.save_pretrained(tmp_path / "transformer", max_shard_size="20KB")
    model.backbone.vae.register_to_config(latents_mean=[0.5] * 8, latents_std=[2.0] * 8)
    model.backbone.vae.save_pretrained(tmp_path / "vae")
    assert len(list((tmp_path / "transformer").glob("*.safetensors"))) > 1

    own = imported(ReleaseFiles(video=tmp_path), config, shapes=shapes_of(model))

    assert set(own) == {name for name in model.state_dict() if name.startswith("backbone.")}
    assert own["backbone.latent_std"].tolist() == [2.0] * 8
    (tmp_path / "vae" / "config.json").write_text("{}")
    with pytest.raises(ImportRefusedError, match="has no latents_mean"):
        imported(ReleaseFiles(video=tmp_path), config, shapes=shapes_of(model))


def test_missing_unknown_and_misshapen_names_are_refused(tmp_path):
    shapes = shapes_of(build_mola(SMALL))
    good = drawn(SHAPES)
    name = "latent_flow_motion_tokenizer.m_former.layernorm.bias"

    def refusal(weights):
        torch.save(weights, tmp_path / "last.pt")
        with pytest.raises(ImportRefusedError) as caught:
            imported(ReleaseFiles(policy=tmp_path / "last.pt"), SMALL, shapes=shapes)
        return str(caught.value)

    assert f"lacks {name}" in refusal({key: value for key, value in good.items() if key != name})
    assert "has unknown model.inner_model.surprise" in refusal(good | {"model.inner_model.surprise": torch.zeros(1)})
    assert f"{name} has shape (5,), mixture.members.flow.transformer.norm.bias needs (32,)" in refusal(
        good | {name: torch.zeros(5)}
    )


def test_only_the_releases_configuration_takes_its_action_model():
    with pytest.raises(ImportRefusedError, match=r"full\.release"):
        action_model_plan(TINY)


class _Harmful:
    def __reduce__(self):
        return (print, ("run",))


def test_nothing_in_a_file_is_run(tmp_path, capsys):
    (tmp_path / "bad.pt").write_bytes(pickle.dumps({"model": _Harmful()}))
    torch.save({"model": _Harmful()}, tmp_path / "worse.pt")
    for name in ("bad.pt", "worse.pt"):
        with pytest.raises(ImportRefusedError, match="cannot be read as plain tensors"):
            read_tensors(tmp_path / name)
    assert capsys.readouterr().out == ""


def test_training_settings_beside_the_weights_are_read_as_empty_shells(tmp_path, monkeypatch):
    module = types.ModuleType("omegaconf.dictconfig")

    class DictConfig:
        def __init__(self):
            self.content = {"batch_size": 28}

    DictConfig.__module__, DictConfig.__qualname__ = "omegaconf.dictconfig", "DictConfig"
    module.DictConfig = DictConfig
    monkeypatch.setitem(sys.modules, "omegaconf", types.ModuleType("omegaconf"))
    monkeypatch.setitem(sys.modules, "omegaconf.dictconfig", module)
    torch.save({"model": {"a": torch.ones(2)}, "args": DictConfig()}, tmp_path / "last.pt")
    monkeypatch.delitem(sys.modules, "omegaconf.dictconfig")
    monkeypatch.delitem(sys.modules, "omegaconf")

    assert torch.equal(read_tensors(tmp_path / "last.pt")["a"], torch.ones(2))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"a": torch.ones(1), "epoch": 3}, "has 'epoch', which is no tensor"),
        ({}, "holds no tensors"),
        ([1], "holds a list"),
    ],
)
def test_files_that_are_no_weights_are_refused(tmp_path, content, words):
    torch.save(content, tmp_path / "some.pt")
    with pytest.raises(ImportRefusedError, match=words):
        read_tensors(tmp_path / "some.pt")
    with pytest.raises(ImportRefusedError, match="is not there"):
        read_tensors(tmp_path / "none.pt")
