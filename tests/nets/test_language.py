"""Sentence encoders: equal sentences, equal numbers; near sentences, near vectors."""

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    PreTrainedTokenizerFast,
    UMT5Config,
    UMT5EncoderModel,
)

from mola_core.contracts.errors import ConfigError
from mola_core.nets.config import LanguageConfig
from mola_core.nets.language import ClipText, Umt5Text, build_encoder, instruction_of
from mola_core.runtime.minilm import MiniLm


@pytest.fixture(scope="module")
def minilm():
    return MiniLm(length=12)


def test_near_sentences_have_near_vectors(minilm):
    red, blue, crimson, drawer = (
        minilm.encode(text).pooled
        for text in (
            "put the red cube into the bowl",
            "put the blue cube into the bowl",
            "place the crimson block in the dish",
            "open the drawer",
        )
    )
    assert red @ crimson > red @ drawer + 0.1 * 384
    assert np.linalg.norm(red - blue) > 5  # colours stay apart
    assert red @ red == pytest.approx(384, rel=1e-3)


def test_case_and_blanks_do_not_matter(minilm):
    first, second = minilm.encode("Stack the blocks"), minilm.encode("  stack the BLOCKS ")
    assert np.array_equal(first.tokens, second.tokens)


def test_long_sentences_are_cut_and_short_ones_masked(minilm):
    long, short = minilm.encode("put " * 40), minilm.encode("stop")
    assert long.tokens.shape == short.tokens.shape == (12, 384)
    assert long.mask.all()
    assert short.mask.sum() == 3  # with the marks of beginning and end
    assert not short.tokens[3:].any()


def test_a_batch_of_sentences_is_an_instruction():
    encoder = build_encoder(LanguageConfig(length=8))
    said = instruction_of(encoder, ["stack the blocks", "open the drawer", "stack the blocks"])
    assert said.tokens.shape == (3, 8, 384)
    assert torch.equal(said.tokens[0], said.tokens[2])


def test_clip_takes_the_users_weights(tmp_path):
    vocabulary = {"<|startoftext|>": 0, "<|endoftext|>": 1, "s": 2, "t": 3, "o": 4, "p</w>": 5, "st": 6}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[("s", "t")])
    config = CLIPTextConfig(
        vocab_size=8,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        projection_dim=12,
        bos_token_id=0,
        eos_token_id=1,
    )
    tokenizer.save_pretrained(tmp_path)
    CLIPTextModelWithProjection(config).save_pretrained(tmp_path)

    encoder = ClipText(tmp_path, length=7)
    said = encoder.encode("stop")

    assert said.tokens.shape == (7, 16)
    assert said.pooled.shape == (12,)
    assert said.mask.all()
    assert encoder.digest == ClipText(tmp_path, length=7).digest


def test_umt5_takes_the_users_weights(tmp_path):
    words = {"<pad>": 0, "</s>": 1, "<unk>": 2, "stack": 3, "blocks": 4}
    unknown = {"unk_token": "<unk>"}
    marks = {"pad_token": "<pad>", "eos_token": "</s>", **unknown}
    tokenizer = Tokenizer(WordLevel(words, **unknown))
    tokenizer.pre_tokenizer = Whitespace()
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **marks)
    wrapped.save_pretrained(tmp_path / "tokenizer")
    config = UMT5Config(vocab_size=8, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    UMT5EncoderModel(config).save_pretrained(tmp_path / "text_encoder")

    encoder = Umt5Text(tmp_path, length=5)
    said = encoder.encode("stack blocks")

    assert said.tokens.shape == (5, encoder.token_width) == (5, 16)
    assert said.pooled.shape == (encoder.pooled_width,)
    assert said.mask.sum() == 2
    assert not said.tokens[2:].any()

    config = LanguageConfig(encoder="umt5", length=5, token_width=16, pooled_width=16)
    assert build_encoder(config, weights=tmp_path).digest == encoder.digest
    with pytest.raises(ConfigError, match="gives tokens of 16 and sentences of 16 numbers, the model reads 384 and 16"):
        build_encoder(config.model_copy(update={"token_width": 384}), weights=tmp_path)
    file = tmp_path / "tokenizer" / "tokenizer.json"
    file.write_text(file.read_text().replace('"stack"', '"stuck"'))
    assert Umt5Text(tmp_path, length=5).digest != encoder.digest  # the same weights, another vocabulary


@pytest.mark.parametrize("encoder", [ClipText, Umt5Text])
def test_absent_weights_are_one_clear_error(tmp_path, encoder):
    with pytest.raises(ConfigError, match=r"no (CLIP|UMT5) text encoder"):
        encoder(tmp_path / "nothing")
