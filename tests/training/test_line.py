"""From a dataset to a policy that acts, over all stages of the smallest recipe."""

import dataclasses
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from line_data import INSTRUCTIONS, write_blobs
from training_fakes import ONE, StopAfter

from mola_core.cli.dispatch import main
from mola_core.contracts.errors import ConfigError
from mola_core.contracts.io_spec import ContractMismatchError, DataContract
from mola_core.data.errors import DataError
from mola_core.evaluation.policies import PolicyChoice, open_policy
from mola_core.nets.language import ClipText
from mola_core.nets.mola import NetObservation
from mola_core.nets.protocols import Instruction
from mola_core.runtime.policy import PolicyObservation
from mola_core.training.cell_reader import NUM_CLASSES
from mola_core.training.checkpoint import (
    CheckpointError,
    load_checkpoint,
    load_policy_modules,
    model_weights,
    read_weights,
    save_checkpoint,
)
from mola_core.training.datasets import Chosen
from mola_core.training.loop import StoppedError
from mola_core.training.metrics import read_metrics
from mola_core.training.model_slim import slim
from mola_core.training.pipeline import train
from mola_core.training.policy_objective import nearness
from mola_core.training.progress import SilentReporter
from mola_core.training.recipe import Recipe
from mola_core.training.recipes import recipe_named
from mola_core.training.recipes.changes import with_settings
from mola_core.training.run import Run
from mola_core.training.stage_order import STAGES
from mola_core.training.stopping import StopRequest
from tests.engines.tiny_clip import write_tiny_clip

_STEPS = {"autoencoder": 2, "video": 4, "idm": 3, "policy": 4}
SHORT = [
    f"{stage}.{setting}"
    for stage, steps in _STEPS.items()
    for setting in (f"steps={steps}", "batch_size=4", "validation_batches=1")
]

CLIP = ("model.language.encoder=clip", "model.language.length=12")


def short(name: str = "twin-tiny", *settings: str) -> Recipe:
    recipe = recipe_named(name)
    mine = [setting for setting in SHORT if getattr(recipe, setting.partition(".")[0]) is not None]
    return with_settings(recipe, [*mine, "validation_share=0.2", *settings])


def run_of(folder: Path, data: Path, recipe: Recipe, **fields) -> Run:
    values = {"world": ONE, "reporter": SilentReporter(), "stop": StopRequest()} | fields
    return Run(recipe=recipe, folder=folder, data={"twin": data}, **values)


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blobs(tmp_path_factory.mktemp("data") / "blobs")


@pytest.fixture(scope="module")
def trained(blobs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("run")
    train(run_of(folder, blobs, short()), STAGES)
    return folder


def curve(folder: Path) -> list[tuple[int, float]]:
    return [(line["step"], line["loss"]) for line in read_metrics(folder)]


def test_the_last_checkpoint_acts(trained: Path) -> None:
    model, checkpoint = load_policy_modules(trained / "policy" / "final")
    io = checkpoint.recipe.io
    language = checkpoint.recipe.model.language
    instruction = Instruction(
        tokens=torch.zeros(1, language.length, language.token_width),
        mask=torch.ones(1, language.length, dtype=torch.bool),
        pooled=torch.zeros(1, language.pooled_width),
    )
    view = io.views[0]
    observation = NetObservation(
        images=torch.zeros(1, len(io.views), 3, view.height, view.width),
        instruction=instruction,
        state=torch.zeros(1, len(io.contract.state)),
    )
    noise = torch.zeros(1, len(io.views), model.backbone.num_frames, *model.backbone.latent_shape)
    with torch.no_grad():
        actions = model.act(observation, video_noise=noise, action_noise=torch.zeros(1, io.horizon, 7))
    assert actions.shape == (1, io.horizon, 7)
    assert checkpoint.normalization is not None
    absolute = checkpoint.normalization.denormalize_actions(actions[0].numpy(), state=np.zeros(13))
    assert np.isfinite(absolute).all()


def test_every_stage_leaves_metrics_pictures_and_a_checkpoint(trained: Path) -> None:
    shown = {"video": {"imagined"}, "idm": {"reconstructions", "codes"}, "policy": {"attention", "codes"}}
    for stage, pictures in shown.items():
        assert load_checkpoint(trained / stage / "final").stage == stage
        assert {path.stem.partition("-")[0] for path in (trained / stage / "pictures").iterdir()} == pictures
        assert {line["split"] for line in read_metrics(trained / stage)} == {"training", "validation"}
    (validation,) = [line for line in read_metrics(trained / "video") if line["split"] == "validation"]
    assert {"one_step_error", "standing_still_error"} <= validation.keys()
    assert any(name.endswith("_perplexity") for name in read_metrics(trained / "idm")[0])


def test_later_stages_keep_what_earlier_ones_made(trained: Path) -> None:
    video, idm, policy = (
        read_weights(load_checkpoint(trained / stage / "final")) for stage in ("video", "idm", "policy")
    )
    backbone = [name for name in video if name.startswith("model.backbone.")]
    assert backbone
    assert all(torch.equal(video[name], policy[name]) for name in backbone)
    assert not all(torch.equal(idm[name], policy[name]) for name in policy if name.startswith("model.mixture."))
    assert not any(name.startswith(("rgb.", "modalities.")) for name in policy)  # decoders are dropped


def test_a_stage_that_is_stopped_goes_on_to_the_same_curve(blobs: Path, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "caches").symlink_to(trained / "caches")
    for stage in ("video", "idm"):
        (tmp_path / stage).symlink_to(trained / stage)
    with pytest.raises(StoppedError):
        train(run_of(tmp_path, blobs, short(), stop=StopAfter(3)), ["policy"])
    train(run_of(tmp_path, blobs, short()), ["policy"])
    assert curve(tmp_path / "policy") == curve(trained / "policy")


def test_a_variant_takes_the_video_model_of_another_run(blobs: Path, trained: Path, tmp_path: Path) -> None:
    recipe = short("twin-tiny.vpp-like")
    final = train(run_of(tmp_path, blobs, recipe, base=trained / "policy" / "final"), ["policy"])
    video, policy = read_weights(load_checkpoint(trained / "video" / "final")), read_weights(load_checkpoint(final))
    assert torch.equal(policy["model.backbone.enter.weight"], video["model.backbone.enter.weight"])
    assert not any(name.startswith("model.mixture") for name in policy)


def test_an_ablation_begins_with_what_it_shares(blobs: Path, trained: Path, tmp_path: Path) -> None:
    """One member of a mixture of three, and the policy's reader; the head begins anew."""
    still = ("policy.steps=1", "policy.optimizer.learning_rate=1e-12", "policy.ema_decay=null", "policy.mixture=frozen")
    recipe = short("twin-tiny.flow", *still)
    final = train(run_of(tmp_path, blobs, recipe, base=trained / "policy" / "final", take=("visual",)), ["policy"])
    before = model_weights(load_checkpoint(trained / "policy" / "final"))
    after = model_weights(load_checkpoint(final))
    assert {name.split(".")[2] for name in after if name.startswith("mixture.members.")} == {"flow"}
    for name in after:
        if name.startswith(("visual.", "mixture.members.")):
            torch.testing.assert_close(after[name], before[name], rtol=1e-5, atol=1e-5)
    head = [name for name in after if name.startswith("head.") and after[name].shape == before[name].shape]
    assert not all(torch.allclose(after[name], before[name], atol=1e-4) for name in head)


def test_a_run_that_is_done_asks_no_more_for_what_it_began_with(blobs: Path, trained: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    assert train(run_of(trained, blobs, short(), base=gone), ["policy"]) == trained / "policy" / "final"
    with pytest.raises(CheckpointError, match=f"{gone} is no checkpoint"):
        train(run_of(tmp_path / "new", blobs, short(), base=gone), ["policy"])


def test_a_policy_that_begins_anew_says_why(blobs: Path, trained: Path, tmp_path: Path) -> None:
    said: list[str] = []
    reporter = SilentReporter()
    reporter.event = said.append  # type: ignore[method-assign]
    base = trained / "policy" / "final"
    train(run_of(tmp_path / "1", blobs, short("twin-tiny", "policy.steps=1"), base=base, reporter=reporter), ["policy"])
    assert said == [], "the same network goes on"
    other = short("twin-tiny", "policy.steps=1", "model.head.max_prefix=2")
    train(run_of(tmp_path / "2", blobs, other, base=base, reporter=reporter), ["policy"])
    assert said == [
        f"the policy of {base} does not go on, a new one begins: model.head.max_prefix was 4 and is 2 (--take begins with parts of it)"
    ]


def test_another_seed_reads_the_same_caches(blobs: Path, trained: Path, tmp_path: Path) -> None:
    before = sorted(path.name for path in (trained / "caches").iterdir())
    recipe = short("twin-tiny", "seed=5")
    train(run_of(tmp_path, blobs, recipe, base=trained / "idm" / "final", caches=trained / "caches"), ["policy"])
    assert sorted(path.name for path in (trained / "caches").iterdir()) == before
    assert curve(tmp_path / "policy") != curve(trained / "policy")


def test_parts_that_cannot_be_taken_are_refused(blobs: Path, trained: Path, tmp_path: Path) -> None:
    base = trained / "policy" / "final"
    with pytest.raises(ConfigError, match=r"--take eyes: no part of this model; it has .*visual"):
        train(run_of(tmp_path / "1", blobs, short(), base=base, take=("eyes",)), ["policy"])
    with pytest.raises(ConfigError, match="needs --from with a policy's checkpoint"):
        train(run_of(tmp_path / "2", blobs, short(), take=("visual",)), ["policy"])
    with pytest.raises(CheckpointError, match="is of stage idm; --take needs a policy's checkpoint"):
        train(run_of(tmp_path / "3", blobs, short(), base=trained / "idm" / "final", take=("visual",)), ["policy"])


def test_stage_one_goes_on_from_a_later_checkpoint(blobs: Path, trained: Path, tmp_path: Path) -> None:
    """Its first step begins with the weights it was given: a step that changes nothing leaves them as they were."""
    recipe = short("twin-tiny", "video.steps=1", "video.optimizer.learning_rate=1e-12", "video.ema_decay=null")
    final = train(run_of(tmp_path, blobs, recipe, base=trained / "policy" / "final"), ["video"])
    before, after = read_weights(load_checkpoint(trained / "policy" / "final")), read_weights(load_checkpoint(final))
    backbone = [name for name in after if name.startswith("model.backbone.")]
    assert backbone
    for name in backbone:
        torch.testing.assert_close(after[name], before[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("own-encoder", ["policy"]),
        ("diffusion-policy", ["policy"]),
        ("from-scratch", ["policy"]),
        ("frozen", ["policy"]),
        ("flow-semantic", ["policy"]),
        ("ar-head", ["policy"]),
        ("edm-head", ["policy"]),
        ("release", ["policy"]),
        ("video-steps-2", ["policy"]),
        ("single-rgb", ["idm", "policy"]),
        ("single-multimodal", ["idm", "policy"]),
        ("direct", ["idm", "policy"]),
        ("pixels", ["idm", "policy"]),
    ],
)
def test_variants_train_and_act(blobs: Path, trained: Path, tmp_path: Path, name: str, stages: list[str]) -> None:
    """Two steps a stage, from the same beginnings."""
    recipe = short(f"twin-tiny.{name}", *(f"{stage}.steps=2" for stage in stages))
    final = train(run_of(tmp_path, blobs, recipe, base=trained / "idm" / "final", caches=trained / "caches"), stages)
    assert load_checkpoint(final).recipe == recipe
    for stage in stages:
        assert [line["split"] for line in read_metrics(tmp_path / stage)] == ["training", "validation"]
    assert np.isfinite(targets_of(PolicyChoice(str(final)))).all()


def targets_of(choice: PolicyChoice) -> np.ndarray:
    """What the policy would do next, of pictures of nothing."""
    policy = open_policy(choice)
    io = policy.io_spec
    view = io.views[0]
    observation = PolicyObservation(
        stamp_ns=0,
        views=dict.fromkeys((view.camera for view in io.views), np.full((view.height, view.width, 3), 90, np.uint8)),
        state=np.zeros(len(io.contract.state), np.float32),
        instruction=INSTRUCTIONS[0],
    )
    policy.reset(instruction=INSTRUCTIONS[0])
    answer = policy.act(observation, noise_seed=1)
    assert answer.targets.shape[0] == io.horizon
    return answer.targets


def test_steps_of_an_evaluation_take_the_place_of_the_recipes(trained: Path, tmp_path: Path) -> None:
    """Table 10 on a checkpoint that is there."""
    final = str(trained / "policy" / "final")
    own = targets_of(PolicyChoice(final))
    steps = load_checkpoint(trained / "policy" / "final").recipe.model.head.steps
    np.testing.assert_array_equal(targets_of(PolicyChoice(final, video_steps=1, action_steps=steps)), own)
    others = [targets_of(PolicyChoice(final, **asked)) for asked in ({"video_steps": 3}, {"action_steps": 1})]
    assert not any(np.array_equal(other, own) for other in others)
    assert not np.array_equal(*others)


def test_samples_that_move_far_count_less_where_a_reach_is_given(blobs: Path, trained: Path, tmp_path: Path) -> None:
    recipe = short("twin-tiny", "policy.reach=0.1")
    train(run_of(tmp_path, blobs, recipe, base=trained / "idm" / "final", caches=trained / "caches"), ["policy"])
    assert curve(tmp_path / "policy") != curve(trained / "policy")
    actions = torch.zeros(3, 4, 7)
    actions[1, :, 0], actions[2, :, 1], actions[2, :, 6] = 0.1, 0.2, 9.0  # an opening is no way
    mask = torch.ones(3, 4, dtype=torch.bool)
    mask[1, 2:] = False
    actions[1, 2:] = 50.0  # beyond the episode's end
    torch.testing.assert_close(nearness(actions, mask=mask, reach=0.1), torch.tensor([1.0, 0.5, 0.2]))


def test_a_learned_autoencoder_comes_first(blobs: Path, tmp_path: Path) -> None:
    recipe = short("twin-tiny.unet", "model.backbone.widths=[32,32]", "model.backbone.autoencoder.widths=[8,8,8]")
    train(run_of(tmp_path, blobs, recipe), ["autoencoder", "video"])
    assert {path.name.partition("-")[0] for path in (tmp_path / "caches").iterdir()} == {"latents"}
    coder, video = (read_weights(load_checkpoint(tmp_path / stage / "final")) for stage in ("autoencoder", "video"))
    kept = [name for name in coder if name.startswith("model.backbone.autoencoder.")]
    assert kept
    assert all(torch.equal(coder[name], video[name]) for name in kept)


def test_features_can_be_computed_in_every_step_instead(blobs: Path, trained: Path, tmp_path: Path) -> None:
    settings = ["idm.cache_features=false", "idm.imagined_share=0.5", "idm.steps=1", "policy.cache_features=false"]
    recipe = short("twin-tiny", *settings, "policy.steps=1")
    train(run_of(tmp_path, blobs, recipe, base=trained / "video" / "final"), ["idm", "policy"])
    assert not (tmp_path / "caches").exists()
    cached = {line["loss"] for line in read_metrics(trained / "idm")}
    assert all(line["loss"] not in cached for line in read_metrics(tmp_path / "idm"))


def test_a_run_becomes_figures(blobs: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = str(trained / "policy" / "final")
    command = ["model", "plot", checkpoint, "--data", str(blobs), "--out", str(tmp_path), "--number", "2"]
    assert main(command) == 0
    named = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert {path.stem for path in named} == {"curves", "imagined", "attention", "codes", "reconstructions"}
    for path in named:
        height, width = cv2.imread(str(path)).shape[:2]
        assert min(height, width) > 100
    assert main([*command, "--pretrained", str(trained / "video" / "final")]) == 2
    assert "is from stage video, decoders are in stage idm's" in capsys.readouterr().err
    assert main([*command, "--number", "99"]) == 2
    assert "--number 99 is outside 1..16" in capsys.readouterr().err


def test_a_slim_checkpoint_acts_and_learns_on(
    blobs: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, small = trained / "policy" / "final", tmp_path / "small"
    assert main(["model", "slim", str(whole), "--out", str(small)]) == 0
    assert (small / "weights.safetensors").stat().st_size < 0.55 * (whole / "weights.safetensors").stat().st_size
    before, after = load_policy_modules(whole)[0].state_dict(), load_policy_modules(small)[0].state_dict()
    assert all(torch.allclose(after[name], before[name], rtol=1e-3, atol=1e-4) for name in before)
    assert load_checkpoint(small).normalization == load_checkpoint(whole).normalization
    train(run_of(tmp_path / "more", blobs, short(), base=small), ["policy"])
    assert main(["model", "slim", str(whole), "--out", str(small)]) == 2
    assert "exists; name a new folder" in capsys.readouterr().err
    checkpoint = load_checkpoint(whole)
    large = {name: 1e6 * value.float() for name, value in read_weights(checkpoint).items()}
    save_checkpoint(dataclasses.replace(checkpoint, path=tmp_path / "large", digest=""), weights=large)
    with pytest.raises(ConfigError, match="which half precision cannot hold"):
        slim(tmp_path / "large", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_policy_that_goes_on_keeps_its_units(trained: Path, tmp_path: Path) -> None:
    others = write_blobs(tmp_path / "others", scale=3.0)
    base = trained / "policy" / "final"
    final = train(run_of(tmp_path / "more", others, short(), base=base), ["policy"])
    assert load_checkpoint(final).normalization == load_checkpoint(base).normalization


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two text encoders, of the size that the recipe reads."""
    folder, size = tmp_path_factory.mktemp("clip"), {"width": 384, "pooled": 384}
    return write_tiny_clip(folder / "mine", **size), write_tiny_clip(folder / "other", **size, seed=1)


def test_every_stage_names_its_sentence_encoder_and_goes_on_with_no_other(
    blobs: Path, clips: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = short("twin-tiny", *CLIP)
    mine, other = ({"language_weights": folder} for folder in clips)
    digest = ClipText(clips[0], length=12).digest
    train(run_of(tmp_path, blobs, recipe, **mine), STAGES)
    assert {load_checkpoint(tmp_path / stage / "final").language_digest for stage in ("video", "idm", "policy")} == {
        digest
    }
    refused = pytest.raises(
        CheckpointError, match=f"trained with sentence encoder {digest} .*--language-weights FOLDER"
    )
    bases = {"video": "policy", "idm": "video", "policy": "policy"}
    for stage, base in bases.items():
        with refused:
            train(run_of(tmp_path / "more" / stage, blobs, recipe, base=tmp_path / base / "final", **other), [stage])
    shutil.rmtree(tmp_path / "policy" / "final")  # killed before its end
    with refused:
        train(run_of(tmp_path, blobs, recipe, **other), ["policy"])
    train(run_of(tmp_path, blobs, recipe, **mine), ["policy"])
    plot = ["model", "plot", str(tmp_path / "policy" / "final"), "--data", str(blobs), "--out", str(tmp_path / "plots")]
    assert main([*plot, "--number", "1", "--language-weights", str(clips[1])]) == 2
    assert f"trained with sentence encoder {digest}" in capsys.readouterr().err


def test_a_learned_autoencoder_reads_no_sentence(blobs: Path, clips: tuple[Path, Path], tmp_path: Path) -> None:
    unet = ("model.backbone.widths=[32,32]", "model.backbone.autoencoder.widths=[8,8,8]")
    recipe = short("twin-tiny.unet", *CLIP, *unet)
    for stage, weights in zip(("autoencoder", "video"), clips, strict=True):
        train(run_of(tmp_path, blobs, recipe, language_weights=weights), [stage])
    digests = [load_checkpoint(tmp_path / stage / "final").language_digest for stage in ("autoencoder", "video")]
    assert digests == [None, ClipText(clips[1], length=12).digest]


def test_openings_have_a_share_of_their_own(
    blobs: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quarter of all samples are among the first two of 24 rows, where a twelfth of them are found."""
    seen: list[int] = []
    batch_of = Chosen.batch

    def noted(chosen: Chosen, indices):
        seen.extend(np.asarray(indices).tolist())
        return batch_of(chosen, indices)

    monkeypatch.setattr(Chosen, "batch", noted)
    recipe = short("twin-tiny", 'policy.openings={"rows": 2, "share": 0.25}', "policy.steps=20")
    train(run_of(tmp_path, blobs, recipe, base=trained / "idm" / "final", caches=trained / "caches"), ["policy"])
    episodes = 5  # one of six is held out
    assert set(seen) == set(range(2 * episodes))
    assert len(seen) == pytest.approx(0.25 * 20 * 4, abs=2)


def test_where_a_policy_led_first_there_are_no_openings(blobs: Path, trained: Path, tmp_path: Path) -> None:
    led = write_blobs(tmp_path / "led", led=4)
    two = (
        'demonstrations=[{"dataset":"twin","weight":1.0},{"dataset":"led","weight":1.0}]',
        "policy.cache_features=false",
    )
    recipe = short("twin-tiny", 'policy.openings={"rows": 2, "share": 0.25}', *two)
    run = run_of(tmp_path / "1", blobs, recipe, base=trained / "idm" / "final")
    train(dataclasses.replace(run, data={"twin": blobs, "led": led}), ["policy"])
    run = run_of(tmp_path / "2", led, short("twin-tiny", 'policy.openings={"rows": 2, "share": 0.25}'))
    with pytest.raises(ConfigError, match=r"among the first 2 of its episode; set policy\.openings=null"):
        train(dataclasses.replace(run, base=trained / "idm" / "final"), ["policy"])


@pytest.mark.parametrize("label", ["semantic", "referred"])
def test_cells_learn_what_they_show(blobs: Path, trained: Path, tmp_path: Path, label: str) -> None:
    recipe = short("twin-tiny", "model.visual.blocks=1", f"policy.{label}_weight=0.5", "policy.steps=40")
    final = train(
        run_of(tmp_path, blobs, recipe, base=trained / "idm" / "final", caches=trained / "caches"), ["policy"]
    )
    said = [line[label] for line in read_metrics(tmp_path / "policy") if line["split"] == "training"]
    assert said[0] < np.log(NUM_CLASSES[label]) + 0.5  # none was known
    assert said[-1] < 0.6 * said[0]
    assert not [name for name in model_weights(load_checkpoint(final)) if "cells" in name]


# --- what bad input gets ----------------------------------------------------------------------------------------------


def test_a_dataset_whose_place_is_not_said_is_named(tmp_path: Path) -> None:
    run = Run(recipe=short(), folder=tmp_path, data={}, world=ONE, reporter=SilentReporter(), stop=StopRequest())
    with pytest.raises(ConfigError, match="needs the datasets twin; say where they lie: --data twin=PATH"):
        train(run, ["video"])


def test_a_place_without_a_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no dataset"):
        train(run_of(tmp_path, tmp_path / "nothing", short()), ["video"])


def test_a_dataset_of_another_contract_is_refused_before_the_first_step(tmp_path: Path) -> None:
    other = DataContract(cameras=("third_person", "wrist"), period_ns=50_000_000)
    data = write_blobs(tmp_path / "other", contract=other, labelled=False, episodes=2)
    with pytest.raises(ContractMismatchError, match="period_ns 50000000 against 100000000"):
        train(run_of(tmp_path / "run", data, short()), STAGES)
    assert not (tmp_path / "run").exists()
    recipe = short("twin-tiny", "video.jitter=null", "video.cache_latents=true")
    with pytest.raises(
        ConfigError, match=r"has a row every 50 ms, the recipe every 100 ms; .* set video\.cache_latents=false"
    ):
        train(run_of(tmp_path / "run", data, recipe), ["video"])


def test_weights_of_a_sentence_encoder_that_is_installed_are_refused(blobs: Path, tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", blobs, short(), language_weights=tmp_path)
    with pytest.raises(ConfigError, match="encoder is minilm, which is installed; leave the option out"):
        train(run, STAGES)
    assert not (tmp_path / "run").exists()


def test_missing_labels_are_refused_before_the_first_stage(tmp_path: Path) -> None:
    data = write_blobs(tmp_path / "bare", labelled=False, episodes=2)
    with pytest.raises(DataError, match="mola data label"):
        train(run_of(tmp_path / "run", data, short()), STAGES)
    assert not (tmp_path / "run").exists()


def test_classes_that_no_cell_can_say_are_refused(blobs: Path, trained: Path, tmp_path: Path) -> None:
    asked = "policy.semantic_weight=0.5"
    with pytest.raises(
        ConfigError, match=r"policy\.semantic_weight asks the cells of a reader of keypoints with blocks"
    ):
        train(run_of(tmp_path / "a", blobs, short("twin-tiny", asked), base=trained / "idm" / "final"), ["policy"])
    bare, with_blocks = write_blobs(tmp_path / "bare", labelled=False, episodes=2), "model.visual.blocks=1"
    with pytest.raises(DataError, match="mola data label"):
        train(run_of(tmp_path / "b", bare, short("twin-tiny", asked, with_blocks)), ["policy"])
    assert not (tmp_path / "b").exists()
    many = write_blobs(tmp_path / "many", episodes=2, classes=(1, 16))
    run = run_of(tmp_path / "c", many, short("twin-tiny", asked, with_blocks), base=trained / "idm" / "final")
    with pytest.raises(ConfigError, match="semantic class 16 is beyond the 16"):
        train(run, ["policy"])


def test_a_stage_without_the_one_before_it_is_refused(blobs: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"stage policy builds on stage video, .* train that first"):
        train(run_of(tmp_path, blobs, short()), ["policy"])


def test_a_base_of_another_architecture_is_refused(blobs: Path, trained: Path, tmp_path: Path) -> None:
    recipe = short("twin-tiny", "model.backbone.width_fine=32")
    with pytest.raises(CheckpointError, match="is of another architecture than its model"):
        train(run_of(tmp_path, blobs, recipe, base=trained / "idm" / "final"), ["policy"])


def test_a_folder_of_another_recipe_is_refused(blobs: Path, trained: Path) -> None:
    with pytest.raises(ConfigError, match=r"belongs to another recipe: policy\.steps was 4 and is 9"):
        train(run_of(trained, blobs, short("twin-tiny", "policy.steps=9")), ["policy"])


def test_a_recipe_without_that_stage_is_refused(blobs: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"recipe twin-tiny\.own-encoder has none of the stages idm"):
        train(run_of(tmp_path, blobs, short("twin-tiny.own-encoder")), ["idm"])


def test_the_command_says_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "stage1", "--recipe", "twn"]) == 2
    assert "did you mean 'twin'" in capsys.readouterr().err
    assert main(["train", "stage1", "--recipe", "twin-tiny", "--data", "x=somewhere"]) == 2
    assert "has no dataset 'x'; it has twin" in capsys.readouterr().err
    assert main(["train", "stage1", "--recipe", "full", "--data", "somewhere"]) == 2
    assert "write --data NAME=somewhere" in capsys.readouterr().err


def test_the_command_lists_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "recipes"]) == 0
    listed = capsys.readouterr().out
    assert "twin-tiny" in listed
    assert ".vpp-like" in listed
    assert main(["train", "recipes", "twin-tiny"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "twin-tiny"


def test_a_readout_teaches_the_visual_tokens_and_stays_behind(blobs: Path, tmp_path: Path) -> None:
    final = train(run_of(tmp_path, blobs, short("twin-tiny", "policy.readout_weight=0.5")), STAGES)
    lines = [line for line in read_metrics(tmp_path / "policy") if line["split"] == "training"]
    assert all(line["loss"] > line["action"] for line in lines)
    assert lines[-1]["readout"] > 0.0
    assert not [name for name in model_weights(load_checkpoint(final)) if "readout" in name]
    load_policy_modules(final)
