import dataclasses
import json
import multiprocessing
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from mola_core.nets.mola import build_mola
from mola_core.training.checkpoint import (
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    load_policy_modules,
    read_resumable,
    read_weights,
    save_checkpoint,
)
from mola_core.training.language import require_encoder
from mola_core.training.model_slim import slim
from mola_core.training.recipes import recipe_named


def header(path: Path, *, stage: str = "line", step: int = 1) -> Checkpoint:
    return Checkpoint(
        path=path,
        recipe=recipe_named("twin-tiny"),
        normalization=None,
        stage=stage,
        step=step,
        metrics={"loss": 0.5},
        git={"commit": "abc", "dirty": False},
    )


WEIGHTS = {"model.a": torch.arange(6.0).reshape(2, 3), "helper.b": torch.tensor([True])}


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    save_checkpoint(header(tmp_path / "c"), weights=WEIGHTS)
    loaded = load_checkpoint(tmp_path / "c")
    assert loaded.recipe == recipe_named("twin-tiny")
    assert (loaded.stage, loaded.step, loaded.metrics, loaded.git["commit"]) == ("line", 1, {"loss": 0.5}, "abc")
    weights = read_weights(loaded)
    assert all(torch.equal(weights[name], WEIGHTS[name]) for name in WEIGHTS)
    said = json.loads((tmp_path / "c" / "checkpoint.json").read_text())
    assert said["contract_hash"] == loaded.contract.hash


def test_the_sentence_encoder_is_named_where_it_is_known(tmp_path: Path) -> None:
    save_checkpoint(dataclasses.replace(header(tmp_path / "c"), language_digest="1" * 16), weights=WEIGHTS)
    named = load_checkpoint(tmp_path / "c")
    assert named.language_digest == "1" * 16
    require_encoder(named, "1" * 16)
    with pytest.raises(CheckpointError, match=r"trained with sentence encoder 1{16} .*, this one is 2{16}; install"):
        require_encoder(named, "2" * 16)
    slim(tmp_path / "c", tmp_path / "small")
    assert load_checkpoint(tmp_path / "small").language_digest == "1" * 16


def test_a_checkpoint_of_before_encoders_were_named_goes_with_any(tmp_path: Path) -> None:
    save_checkpoint(header(tmp_path / "c"), weights=WEIGHTS)
    file = tmp_path / "c" / "checkpoint.json"
    said = json.loads(file.read_text())
    del said["language_digest"]
    file.write_text(json.dumps(said))
    older = load_checkpoint(tmp_path / "c")
    assert older.language_digest is None
    require_encoder(older, "2" * 16)
    slim(tmp_path / "c", tmp_path / "small")
    assert load_checkpoint(tmp_path / "small").language_digest is None


def test_no_checkpoint_holds_a_pickle(tmp_path: Path) -> None:
    save_checkpoint(header(tmp_path / "c"), weights=WEIGHTS)
    assert {path.suffix for path in (tmp_path / "c").iterdir()} == {".safetensors", ".json"}


def test_a_kill_leaves_a_whole_checkpoint_or_none(tmp_path: Path) -> None:
    target = tmp_path / "c"

    def save_for_ever() -> None:
        step = 0
        while True:
            step += 1
            weights = {"model.a": torch.from_numpy(np.full(2_000_000, step, np.float32))}
            save_checkpoint(header(target, step=step), weights=weights)

    for attempt in range(6):
        child = multiprocessing.get_context("fork").Process(target=save_for_ever)
        child.start()
        while not target.exists():
            time.sleep(0.01)
        time.sleep(0.029 * attempt)
        child.kill()
        child.join()
        if target.exists():  # between two of them there is none
            loaded = load_checkpoint(target)  # its digest agrees
            assert float(read_weights(loaded)["model.a"][0]) == loaded.step
    save_checkpoint(header(target), weights=WEIGHTS)
    assert [path.name for path in tmp_path.iterdir()] == ["c"]  # nothing half-written stays


def test_an_absent_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is no checkpoint: it has no checkpoint\.json"):
        load_checkpoint(tmp_path)


def test_weights_that_were_not_fetched_whole_are_refused(tmp_path: Path) -> None:
    save_checkpoint(header(tmp_path), weights=WEIGHTS)
    file = tmp_path / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(CheckpointError, match="is damaged or was not fetched whole"):
        load_checkpoint(tmp_path)
    file.unlink()
    with pytest.raises(CheckpointError, match=r"has no weights\.safetensors"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "has format 99, this version reads 1"),
        ({"recipe": {"name": "x"}}, "cannot be understood"),
        ({"step": None, "metrics": 3, "recipe": None}, "cannot be understood"),
    ],
)
def test_a_header_that_says_something_else_is_refused(tmp_path: Path, change: dict, message: str) -> None:
    save_checkpoint(header(tmp_path), weights=WEIGHTS)
    file = tmp_path / "checkpoint.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path)


def test_weights_alone_cannot_be_resumed(tmp_path: Path) -> None:
    save_checkpoint(header(tmp_path), weights=WEIGHTS)
    with pytest.raises(CheckpointError, match="holds weights only"):
        read_resumable(load_checkpoint(tmp_path))


def test_only_a_trained_policy_is_loaded_to_act(tmp_path: Path) -> None:
    save_checkpoint(header(tmp_path / "video", stage="video"), weights=WEIGHTS)
    with pytest.raises(CheckpointError, match="is from stage 'video', which cannot act"):
        load_policy_modules(tmp_path / "video")
    save_checkpoint(header(tmp_path / "policy", stage="policy"), weights=WEIGHTS)
    with pytest.raises(CheckpointError, match="is of another architecture than its model"):
        load_policy_modules(tmp_path / "policy")


def test_a_policy_comes_back_in_evaluation_mode_with_its_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build_mola(recipe_named("twin-tiny").model)
    weights = {f"model.{name}": value for name, value in model.state_dict().items()}
    save_checkpoint(header(tmp_path, stage="policy"), weights=weights)
    loaded, checkpoint = load_policy_modules(tmp_path)
    assert checkpoint.stage == "policy"
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in model.state_dict().items())
