"""A bundle brings its text encoder along: without torch it encodes as torch does, and any other encoder is refused."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from altered import rehash, rewrite
from checkpoints import saved
from micro_model import micro_config, micro_model
from tiny_clip import CORPUS, write_tiny_clip
from transformers import CLIPModel, CLIPTokenizer

from mola_core.cli import main
from mola_core.contracts.bundle import BundledLanguageRecord, BundleError, read_manifest, verify_files
from mola_core.contracts.errors import ConfigError
from mola_core.evaluation.errors import EvaluationError
from mola_core.evaluation.policies import PolicyChoice, identity_of, open_policy
from mola_core.export.bundle_making import make_bundle
from mola_core.export.draft import read_draft
from mola_core.export.errors import ExportError
from mola_core.export.exporting import Exportable
from mola_core.export.from_checkpoint import exportable_of
from mola_core.export.text_encoder import GOLDEN, GRAPH, TOKENIZER, record_text, text_to_take, write_text
from mola_core.export.weights_file import share_weights
from mola_core.nets.config import ImageEncoderConfig, LanguageConfig
from mola_core.nets.language import ClipText
from mola_core.nets.mola import build_mola
from mola_core.runtime.bundle_language import language_of
from mola_core.runtime.bundle_policy import OpenOptions, open_bundle, open_bundle_policy
from mola_core.runtime.exported_text import TOKEN_IDS, ExportedText, token_arrays
from mola_core.runtime.golden import Golden, read_golden, write_golden
from mola_core.runtime.language import SentenceEncoder
from mola_core.runtime.policy import PolicyObservation
from mola_core.training.checkpoint import CheckpointError

LENGTH = 12
LANGUAGE = LanguageConfig(encoder="clip", length=LENGTH, token_width=16, pooled_width=12)
SENTENCES = (*CORPUS, "", "Stack   the BLOCKS!\n", "naïve 物 <|endoftext|> put", "put " * 40)


def clip_model(text: ClipText | None = None) -> Exportable:
    """A policy that looks for itself: one stage, so that little but the encoder is exported."""
    eyes = ImageEncoderConfig(height=16, width=32, widths=(8, 8), token_width=16)
    config = micro_config().model_copy(update={"language": LANGUAGE, "backbone": None, "mixture": None, "visual": eyes})
    return replace(micro_model(), mola=build_mola(config), text=text)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_clip(tmp_path_factory.mktemp("weights") / "clip")


@pytest.fixture(scope="module")
def text(weights: Path) -> ClipText:
    return ClipText(weights, length=LENGTH)


@pytest.fixture(scope="module")
def checkpoint(text: ClipText, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(clip_model(), tmp_path_factory.mktemp("run") / "best", language_digest=text.digest)


@pytest.fixture(scope="module")
def draft(checkpoint: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "draft"
    assert (
        main(["export", str(checkpoint), "--out", str(out), "--name", "micro", "--language-weights", str(weights)]) == 0
    )
    return out


@pytest.fixture(scope="module")
def bundle(draft: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(read_draft(draft), tmp_path_factory.mktemp("models"), measure=False)


def opened(bundle: Path, *, self_test: bool = True) -> SentenceEncoder:
    return language_of(bundle, read_manifest(bundle), self_test=self_test)


def assert_encodes_as_torch(encoder: SentenceEncoder, text: ClipText) -> None:
    for sentence in SENTENCES:
        ours, theirs = encoder.encode(sentence), text.encode(sentence)
        assert ours.tokens.dtype == ours.pooled.dtype == np.float32
        assert ours.tokens.shape == (LENGTH, 16)
        np.testing.assert_array_equal(ours.mask, theirs.mask)
        for mine, other in ((ours.tokens, theirs.tokens), (ours.pooled, theirs.pooled)):
            cosine = np.sum(mine * other) / (np.linalg.norm(mine) * np.linalg.norm(other))
            assert cosine >= 0.999, sentence
            np.testing.assert_allclose(mine, other, atol=1e-3 * np.abs(other).max())


def test_a_bundle_encodes_as_torch_does(bundle: Path, text: ClipText) -> None:
    encoder = opened(bundle)
    assert_encodes_as_torch(encoder, text)
    first, second = (encoder.encode(sentence).pooled for sentence in CORPUS[:2])
    assert np.abs(first - second).max() > 0.1, "an encoder that says the same of everything would pass too"


def test_the_text_half_is_taken_out_of_weights_as_they_are_published(tmp_path: Path) -> None:
    weights = write_tiny_clip(tmp_path / "clip", as_published=True)
    text = ClipText(weights, length=LENGTH)
    whole = CLIPModel.from_pretrained(str(weights), dtype=torch.float32)
    numbers = CLIPTokenizer.from_pretrained(str(weights))(CORPUS[0], return_tensors="pt")
    with torch.no_grad():
        expected = whole.get_text_features(**numbers).pooler_output[0]
    np.testing.assert_allclose(text.encode(CORPUS[0]).pooled, expected, rtol=1e-4)
    for name in ("onnx", "golden"):
        (tmp_path / name).mkdir()
    share_weights([write_text(text, tmp_path)])
    record = record_text(text, tmp_path, check=True)
    encoder = ExportedText(graph=tmp_path / record.graph, tokenizer=tmp_path / record.tokenizer)
    assert encoder.digest == record.digest == text.digest
    assert_encodes_as_torch(encoder, text)


def test_sentences_become_the_tokens_that_transformers_makes_of_them(weights: Path, text: ClipText) -> None:
    theirs = CLIPTokenizer.from_pretrained(str(weights))
    for sentence in SENTENCES:
        expected = theirs(sentence, padding="max_length", truncation=True, max_length=LENGTH)
        assert token_arrays(text.tokenizer, sentence)[TOKEN_IDS].tolist() == expected["input_ids"]


def test_the_manifest_names_the_encoder_and_its_files(bundle: Path, text: ClipText) -> None:
    manifest = read_manifest(bundle)
    verify_files(bundle, manifest)
    language = manifest.language
    assert isinstance(language, BundledLanguageRecord)
    assert (language.encoder, language.digest, language.length) == ("clip", text.digest, LENGTH)
    assert {GRAPH, TOKENIZER, GOLDEN} <= manifest.files.keys()
    assert language.parity is not None
    assert language.parity.cosine > 0.99999
    assert set(manifest.stages) == {"actor"}, "the encoder is no stage: nobody compiles it for a GPU"
    assert str(Path(__file__).parents[2]).encode() not in (bundle / GRAPH).read_bytes()


def test_a_bundle_acts_on_what_it_is_told_without_torch(bundle: Path) -> None:
    script = """
import sys
from pathlib import Path

import numpy as np

from mola_core.runtime.bundle_policy import open_bundle_policy
from mola_core.runtime.policy import PolicyObservation

views = {name: np.zeros((16, 32, 3), dtype=np.uint8) for name in ("third_person", "wrist")}
with open_bundle_policy(Path(sys.argv[1])) as policy:
    seen = [
        PolicyObservation(stamp_ns=1, views=views, state=np.zeros(13), instruction=instruction)
        for instruction in ("open the drawer", "put the bottle in the bin")
    ]
    first, second = (policy.act(each, noise_seed=0).targets for each in seen)
assert first.shape == (6, 6) and np.isfinite(first).all()
assert not np.array_equal(first, second)
assert not {"torch", "transformers"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", script, str(bundle)], check=True)


def test_bundles_of_one_encoder_share_it(bundle: Path, tmp_path: Path) -> None:
    other = tmp_path / "micro" / "2"
    shutil.copytree(bundle, other, copy_function=shutil.copyfile)
    first = opened(bundle)
    assert opened(other) is first


@pytest.fixture
def copied(bundle: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "micro" / "1"
    shutil.copytree(bundle, copy, copy_function=shutil.copyfile)
    return copy


def test_a_changed_or_missing_file_of_the_encoder_is_refused_by_name(copied: Path) -> None:
    path = copied / TOKENIZER
    content = path.read_bytes()
    path.write_bytes(content.replace(b"<|startoftext|>", b"<|startoftexT|>", 1))
    with pytest.raises(BundleError, match=r"language/tokenizer\.json has SHA-256"):
        open_bundle(copied)
    path.unlink()
    with pytest.raises(BundleError, match=r"language/tokenizer\.json is missing"):
        open_bundle(copied)
    with pytest.raises(BundleError, match=r"tokenizer .*tokenizer\.json cannot be read"):
        open_bundle_policy(copied, OpenOptions(verify=False))


def test_another_vocabulary_is_another_encoder(copied: Path) -> None:
    path = copied / TOKENIZER
    path.write_text(path.read_text().replace('"Lowercase"', '"NFKC"'))
    rehash(copied, TOKENIZER)
    with pytest.raises(BundleError, match=r"was trained with sentence encoder \w{16}, the one in it is \w{16}"):
        opened(copied)
    path.write_text("{")
    rehash(copied, TOKENIZER)
    with pytest.raises(BundleError, match=r"tokenizer\.json is damaged"):
        opened(copied)


def test_the_encoder_of_another_bundle_is_refused(copied: Path) -> None:
    rewrite(copied, language=read_manifest(copied).language.model_dump() | {"digest": "1" * 16})
    with pytest.raises(BundleError, match="trained with sentence encoder 1111111111111111, the one in it is"):
        open_bundle_policy(copied)


def test_an_encoder_that_encodes_otherwise_than_torch_did_is_refused(copied: Path) -> None:
    golden = read_golden(copied / GOLDEN)
    write_golden(
        copied / GOLDEN,
        Golden(inputs=golden.inputs, outputs={name: array[::-1] for name, array in golden.outputs.items()}),
    )
    rehash(copied, GOLDEN)
    with pytest.raises(BundleError, match=r"sentence encoder of bundle micro/1 fails its self-test"):
        opened(copied)
    opened(copied, self_test=False)


def test_a_bundle_without_its_encoder_is_refused(copied: Path) -> None:
    named = read_manifest(copied).language.model_dump(include={"digest", "length"})
    for encoder in ("clip", "umt5"):
        rewrite(copied, language=named | {"encoder": encoder})
        with pytest.raises(BundleError, match=rf"needs the sentence encoder '{encoder}' and does not bring it along"):
            opened(copied)


def test_a_draft_that_lost_its_tokenizer_is_not_sealed(draft: Path, tmp_path: Path) -> None:
    copy = tmp_path / "draft"
    shutil.copytree(draft, copy)
    (copy / TOKENIZER).unlink()
    with pytest.raises(BundleError, match=r"has no language/tokenizer\.json, of the sentence encoder; export"):
        make_bundle(read_draft(copy), tmp_path / "models", measure=False)


def test_export_asks_for_the_weights_of_clip(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export = ["export", str(checkpoint), "--out", str(tmp_path / "draft")]
    assert main(export) == 2
    assert (
        "give the folder of the weights of openai/clip-vit-base-patch32: --language-weights" in capsys.readouterr().err
    )
    assert main([*export, "--language-weights", "no/such"]) == 2
    assert "--language-weights no/such is no folder" in capsys.readouterr().err
    assert not (tmp_path / "draft").exists()


def test_weights_of_another_kind_are_refused(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ExportError, match=r"--language-weights .*empty: no CLIP text encoder at"):
        text_to_take(LANGUAGE, weights=tmp_path / "empty")
    wide = write_tiny_clip(tmp_path / "wide", width=32)
    with pytest.raises(ExportError, match=r"gives tokens of 32 and sentences of 12 numbers, the model reads 16 and 12"):
        text_to_take(LANGUAGE, weights=wide)
    with pytest.raises(ExportError, match="sentence encoder is umt5, which no bundle can take along"):
        text_to_take(LanguageConfig(encoder="umt5"), weights=weights)
    with pytest.raises(ConfigError, match="sentence encoder is minilm, which is installed; leave the option out"):
        text_to_take(LanguageConfig(), weights=weights)


def test_a_checkpoint_exports_with_the_encoder_that_it_was_trained_with(
    checkpoint: Path, text: ClipText, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_tiny_clip(tmp_path / "other", seed=1)
    export = ["export", str(checkpoint), "--out", str(tmp_path / "draft"), "--language-weights"]
    assert main([*export, str(other)]) == 2
    found = ClipText(other, length=LENGTH).digest
    said = capsys.readouterr().err
    assert f"was trained with sentence encoder {text.digest} (clip, 12 tokens), this one is {found}" in said
    assert "give the folder of the weights it was trained with: --language-weights FOLDER" in said
    assert not (tmp_path / "draft").exists()


def test_a_checkpoint_acts_with_the_encoder_that_it_was_trained_with(
    checkpoint: Path, weights: Path, text: ClipText, tmp_path: Path
) -> None:
    choice = PolicyChoice(str(checkpoint), language_weights=weights)
    views = {name: np.zeros((16, 32, 3), dtype=np.uint8) for name in ("third_person", "wrist")}
    seen = PolicyObservation(stamp_ns=1, views=views, state=np.zeros(13), instruction=CORPUS[0])
    assert np.isfinite(open_policy(choice).act(seen, noise_seed=0).targets).all()
    other = write_tiny_clip(tmp_path / "other", seed=1)
    with pytest.raises(
        CheckpointError, match=f"trained with sentence encoder {text.digest} .*--language-weights FOLDER"
    ):
        open_policy(replace(choice, language_weights=other))
    assert (
        identity_of(replace(choice, language_weights=other))
        == identity_of(choice)
        == identity_of(PolicyChoice(str(checkpoint)))
    ), "where the encoder lies is no condition of a result"


def test_weights_of_another_size_do_not_reach_a_checkpoint_that_names_no_encoder(tmp_path: Path) -> None:
    unnamed = saved(clip_model(), tmp_path / "best")
    wide = write_tiny_clip(tmp_path / "wide", width=32)
    with pytest.raises(ConfigError, match=r"gives tokens of 32 and sentences of 12 numbers, the model reads 16 and 12"):
        exportable_of(unnamed, language_weights=wide)
    other = write_tiny_clip(tmp_path / "other", seed=1)
    assert exportable_of(unnamed, language_weights=other).language.digest == ClipText(other, length=LENGTH).digest


def test_the_bench_takes_the_weights_of_a_checkpoint(
    checkpoint: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = ["bench", "latency", "--checkpoint", str(checkpoint), "--ways", "eager", "--runs", "2", "--json"]
    assert main([*bench, "--language-weights", str(weights)]) == 0
    (row,) = json.loads(capsys.readouterr().out)["figures"]["rows"]
    assert row["way"] == "torch eager fp32 cpu"
    other = write_tiny_clip(tmp_path / "other", seed=1)
    assert main([*bench, "--language-weights", str(other)]) == 2
    assert "was trained with sentence encoder" in capsys.readouterr().err


def test_an_evaluation_refuses_weights_that_a_policy_has_no_use_for(
    checkpoint: Path, bundle: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = saved(micro_model(), tmp_path / "minilm")
    site = str(Path(__file__).parents[2] / "launch/sites/twin.yaml")
    for policy, folder, said in (
        (bundle, weights, "brings its own sentence encoder; leave the option out"),
        (plain, weights, "sentence encoder is minilm, which is installed; leave the option out"),
        (checkpoint, tmp_path / "nowhere", "is no folder; give that of the weights of clip"),
        ("expert", weights, "--policy expert looks at nothing: it takes no --control, no --execute-steps and no"),
    ):
        out = tmp_path / "results.jsonl"
        words = ["--policy", str(policy), "--language-weights", str(folder), "--site", site, "--out", str(out)]
        assert main(["eval", "twin", "--trials", "1", *words]) == 2
        assert said in capsys.readouterr().err
        assert not out.exists()
    with pytest.raises(EvaluationError, match="brings its own sentence encoder"):
        open_policy(PolicyChoice(str(bundle), language_weights=weights))
    with pytest.raises(ConfigError, match="sentence encoder is minilm"):
        open_policy(PolicyChoice(str(plain), language_weights=weights))


def test_weights_without_the_projection_are_refused(weights: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file  # noqa: PLC0415

    bare = tmp_path / "bare"
    shutil.copytree(weights, bare)
    tensors = load_file(bare / "model.safetensors")
    del tensors["text_projection.weight"]
    save_file(tensors, bare / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"lacks text_projection\.weight"):
        ClipText(bare)
