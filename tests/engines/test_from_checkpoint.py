"""A checkpoint acts and is exported as what it was trained to be; one of an earlier stage is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from checkpoints import saved
from micro_model import micro_io

from mola_core.cli import main
from mola_core.evaluation.policies import PolicyChoice, identity_of, open_policy
from mola_core.export.draft import read_draft
from mola_core.export.exporting import Exportable
from mola_core.export.from_checkpoint import exportable_of
from mola_core.export.stages import StageOptions
from mola_core.export.torch_policy import torch_policy
from mola_core.runtime.engine_policy import Identity
from mola_core.runtime.policy import PolicyObservation
from mola_core.training.checkpoint import CheckpointError, load_checkpoint

STATE = np.array([0.1, -1.8, 1.7, -1.4, -1.5, -0.3, -0.4, 0.05, 0.3, 2.2, 2.2, 0.1, 0.8])


def test_a_checkpoint_acts_as_the_model_in_it(model: Exportable, tmp_path: Path) -> None:
    path = saved(model, tmp_path / "best")
    policy = open_policy(PolicyChoice(str(path)))
    reference = torch_policy(
        model.mola,
        identity=Identity(bundle_id="x", io_spec=model.io),
        normalization=model.normalization,
        language=model.language,
        options=StageOptions(),
    )
    rng = np.random.default_rng(0)
    views = {name: rng.integers(0, 256, (16, 32, 3), dtype=np.uint8) for name in ("third_person", "wrist")}
    seen = PolicyObservation(stamp_ns=1, views=views, state=STATE, instruction="open the drawer")
    np.testing.assert_array_equal(policy.act(seen, noise_seed=1).targets, reference.act(seen, noise_seed=1).targets)
    digest = json.loads((path / "checkpoint.json").read_text())["digest"]
    assert policy.bundle_id == f"checkpoint-{digest[:12]}"
    assert identity_of(PolicyChoice(str(path))) == f"checkpoint {digest[:16]}"


def test_an_export_says_which_weights_it_was_made_from(model: Exportable, tmp_path: Path) -> None:
    path = saved(model, tmp_path / "best")
    exportable = exportable_of(path)
    assert exportable.io == micro_io()
    assert exportable.training["step"] == 3
    assert exportable.training["weights_sha256"] == json.loads((path / "checkpoint.json").read_text())["digest"]


def test_rows_to_execute_are_chosen_after_training(
    model: Exportable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(model, tmp_path / "best")
    words = ["export", str(path), "--out", str(tmp_path / "draft"), "--no-preview", "--no-check"]
    assert main([*words, "--execute-steps", str(micro_io().horizon + 1)]) == 2
    assert f"is outside 1..{micro_io().horizon}, the rows of a chunk" in capsys.readouterr().err
    assert main([*words, "--execute-steps", "1"]) == 0
    assert read_draft(tmp_path / "draft").manifest.io.execute_steps == 1


def test_a_checkpoint_names_the_encoder_that_it_was_trained_with(model: Exportable, tmp_path: Path) -> None:
    mine, other = (
        saved(model, tmp_path / digest, language_digest=digest) for digest in (model.language.digest, "1" * 16)
    )
    assert load_checkpoint(mine).language_digest == model.language.digest
    assert exportable_of(mine).language.digest == model.language.digest
    said = rf"sentence encoder 1{{16}} \(minilm, 8 tokens\), this one is {model.language.digest}; install the version"
    with pytest.raises(CheckpointError, match=said):
        exportable_of(other)
    with pytest.raises(CheckpointError, match=said):
        open_policy(PolicyChoice(str(other)))


def test_a_checkpoint_of_an_earlier_stage_neither_acts_nor_exports(
    model: Exportable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(model, tmp_path / "idm", stage="idm")
    assert main(["export", str(path), "--out", str(tmp_path / "draft")]) == 2
    assert "cannot act" in capsys.readouterr().err
    assert not (tmp_path / "draft").exists()
    assert main(["export", str(path), "--out", str(tmp_path / "draft"), "--action-steps", "0"]) == 2
    assert "--action-steps 0 is outside 1..100" in capsys.readouterr().err
