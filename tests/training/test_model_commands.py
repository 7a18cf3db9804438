"""``mola model show`` and ``mola model import``: what they print and what they refuse."""

import json
import re
from types import SimpleNamespace

import pytest
import torch
from line_data import write_blobs
from safetensors.torch import save_file

from mola_core.cli import main
from mola_core.contracts.errors import UnsupportedError
from mola_core.data.opening import open_samples
from mola_core.data.statistics import normalization_of
from mola_core.nets.building import build_backbone
from mola_core.nets.config import EdmHeadConfig, FeatureTokensConfig, MolaConfig, SvdConfig, VideoFormerConfig
from mola_core.nets.mola import build_mola
from mola_core.training import recipes
from mola_core.training.checkpoint import load_checkpoint, model_weights
from mola_core.training.demonstrations import policy_window
from mola_core.training.recipes import recipe_named
from mola_core.training.recipes.changes import changed
from mola_core.training.stage1_video import video_stage
from mola_core.training.stage_order import stage_after
from tests.engines.tiny_clip import write_tiny_clip
from tests.nets import published
from tests.nets.conftest import DIT, IDM, TINY
from tests.nets.test_imagination import WAN

SIDE = 64


def small_release():
    """The release's kind of model with few parameters, on the recipe whose views and rows fit it."""
    dit = DIT.model_copy(update={"causal": True, "causal_context": True, "words": False})
    backbone = SvdConfig(
        height=SIDE,
        width=SIDE,
        num_frames=3,
        token_width=16,
        widths=(32, 32, 64, 64),
        heads=(1, 1, 2, 2),
        layers=1,
        vae_widths=(32, 32, 32, 32),
    )
    full = recipe_named("full")
    model = MolaConfig(
        horizon=full.io.horizon,
        state_size=0,
        language=TINY.language.model_copy(update={"encoder": "clip"}),
        backbone=backbone,
        visual=VideoFormerConfig(width=32, depth=1, heads=2, head_width=16, queries_per_frame=2),
        mixture=TINY.mixture.model_copy(update={"tokens": FeatureTokensConfig(width=24, future_frame=2), "idm": IDM}),
        head=EdmHeadConfig(dit=dit),
    )
    views = [view.model_copy(update={"width": SIDE, "height": SIDE}) for view in full.io.views]
    io = full.io.model_copy(update={"views": tuple(views), "foresight_offsets": (1, 2)})
    return changed(full, io=io, model=model, name="small-release")


IDM_SHAPES = published.idm_shapes(queries=2, tokens=16, width_in=24, width=32, layers=1, inner=64, codes=16, code=8)
ACTION_SHAPES = published.action_model_shapes(
    idm=IDM_SHAPES,
    former=published.former_shapes(width_in=128, width=32, depth=1, inner=32, frames=3, queries=2),
    head=published.head_shapes(
        width=32, layers=1, goal=12, latent=32, visual=6, visual_width=32, rows=10, actions=7, decoder_layers=2
    ),
    feature_width=128,
    token_width=24,
)


@pytest.fixture
def release(monkeypatch):
    recipe = small_release()
    monkeypatch.setitem(recipes.RECIPES, "small-release", lambda: recipe)
    return recipe


@pytest.fixture
def video(release, tmp_path):
    backbone = build_mola(release.model).backbone
    for part in ("unet", "vae"):
        (tmp_path / "video" / part).mkdir(parents=True)
        weights = {name: value.contiguous() for name, value in getattr(backbone, part).state_dict().items()}
        save_file(weights, tmp_path / "video" / part / "diffusion_pytorch_model.safetensors")
    return str(tmp_path / "video")


def drawn(shapes):
    return {name: torch.randn(shape) for name, shape in shapes.items()}


def run(capsys, *arguments):
    status = main(["model", *map(str, arguments)])
    captured = capsys.readouterr()
    return status, captured.out + captured.err


def test_show_counts_parts_and_work(capsys):
    status, text = run(capsys, "show", "--recipe", "twin-tiny", "--json")
    said = json.loads(text)
    assert status == 0
    assert said["parameters"] == sum(part["parameters"] for part in said["parts"])
    assert said["tflop"] == pytest.approx(sum(work["tflop"] for work in said["works"] if work["every_inference"]))
    assert {"head", "mixture.flow", "visual"} <= {part["name"] for part in said["parts"]}


def test_show_prints_a_table(capsys):
    status, text = run(capsys, "show", "--recipe", "twin-tiny.diffusion-policy")
    assert status == 0
    assert re.search(r"head .*DdpmHead", text)


def test_an_unknown_recipe_is_one_line(capsys):
    status, text = run(capsys, "show", "--recipe", "twinn")
    assert status == 2
    assert "there is no recipe 'twinn'; did you mean 'twin'?" in text


def test_everything_published_becomes_a_checkpoint_that_stage_three_starts_from(capsys, release, video, tmp_path):
    torch.save({"model": drawn(ACTION_SHAPES)}, tmp_path / "last.pt")
    out = tmp_path / "imported"

    status, text = run(
        capsys, "import", "--recipe", "small-release", "--video", video, "--policy", tmp_path / "last.pt", "--out", out
    )

    assert status == 0, text
    assert "as of stage policy" in text
    checkpoint = load_checkpoint(out)
    assert checkpoint.normalization is None
    assert checkpoint.language_digest is None  # which weights of CLIP the release was trained with it does not say
    assert model_weights(checkpoint).keys() == build_mola(release.model).state_dict().keys()
    data = write_blobs(
        tmp_path / "demonstrations", contract=release.io.contract, episodes=3, labelled=False, enlarged=2
    )
    assert train_on(text, data, tmp_path) == 0, capsys.readouterr().err
    trained = load_checkpoint(tmp_path / "run" / "policy" / "final")
    assert trained.normalization == normalization_of([policy_samples(data, release)])
    before, after = model_weights(checkpoint), model_weights(trained)
    assert torch.equal(before["backbone.unet.conv_in.weight"], after["backbone.unet.conv_in.weight"])
    head = [name for name in before if name.startswith("head.") and before[name].ndim == 2]
    assert all(0.0 < float((after[name] - before[name]).abs().max()) < 0.01 for name in head), "it goes on from there"


def train_on(text, data, tmp_path):
    """Two steps of the command that the import has named."""
    command = text.partition("next: mola ")[2].split()
    assert command[-2:] == ["--data", "…"]
    clip = write_tiny_clip(tmp_path / "clip", width=TINY.language.token_width, pooled=TINY.language.pooled_width)
    settings = ("policy.steps=2", "policy.epochs=null", "policy.batch_size=2", "validation_share=0.34")
    words = [*command[:-1], f"demonstrations={data}", "--out", tmp_path / "run", "--language-weights", clip]
    return main([str(word) for word in (*words, *(word for each in settings for word in ("--set", each)))])


def policy_samples(data, recipe):
    return open_samples(data, policy_window(recipe.io), cached=False, split="train", validation_share=0.34)


@pytest.mark.parametrize(
    ("recipe", "stage", "command"),
    [
        ("full.release", "video", "stage2"),
        ("full.release", "idm", "stage3"),
        ("full.release", "policy", "stage3"),
        ("full.wan", "video", "stage3"),
        ("full.vpp-like", "video", "stage3"),
        ("twin.unet", "autoencoder", "stage1"),
    ],
)
def test_the_command_that_follows_is_of_a_stage_that_the_recipe_has(recipe, stage, command):
    assert stage_after(stage, recipe_named(recipe)) == command


def test_the_models_of_stage_two_make_a_checkpoint_with_fresh_tokens(capsys, release, video, tmp_path):
    places = []
    for name in ("flow", "depth", "semantic"):
        torch.save(drawn(IDM_SHAPES), tmp_path / f"{name}.pt")
        places += ["--idm", f"{name}={tmp_path / name}.pt"]

    status, text = run(
        capsys, "import", "--recipe", "small-release", "--video", video, *places, "--out", tmp_path / "imported"
    )

    assert status == 0, text
    weights = model_weights(load_checkpoint(tmp_path / "imported"))
    assert {name.partition(".")[0] for name in weights} == {"backbone", "mixture", "tokens"}


def test_what_cannot_be_used_is_refused(capsys, release, video, tmp_path):
    torch.save(drawn(IDM_SHAPES), tmp_path / "flow.pt")
    flow = f"flow={tmp_path / 'flow.pt'}"
    common = ("import", "--recipe", "small-release", "--out", tmp_path / "imported")
    for arguments, words in (
        (("--idm", "flow"), "--idm is written NAME=FILE, got 'flow'"),
        ((), "nothing to import"),
        (("--idm", f"heat={tmp_path / 'flow.pt'}"), "no inverse dynamics model 'heat'"),
        (("--idm", flow), "without backbone, mixture.members.depth"),
        (("--video", str(tmp_path)), "has no diffusion_pytorch_model.safetensors"),
    ):
        status, text = run(capsys, *common, *arguments)
        assert status != 0
        assert words in text
    assert not (tmp_path / "imported").exists()
    (tmp_path / "imported").mkdir()
    assert "exists; name a new folder" in run(capsys, *common, "--video", video)[1]


def test_wan_is_not_trained_here():
    bench = SimpleNamespace(model=SimpleNamespace(backbone=build_backbone(WAN)))
    spec = recipe_named("full.wan").video
    with pytest.raises(UnsupportedError, match="mola model import --recipe"):
        video_stage(spec, bench)
