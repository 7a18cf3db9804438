"""A CLIP text encoder of a few thousand random weights, with a byte-pair vocabulary learned from a few sentences."""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Whitespace
from tokenizers.trainers import BpeTrainer
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
)

BEGIN, END = "<|startoftext|>", "<|endoftext|>"
CORPUS = (
    "put the bottle in the bin",
    "stack the red block on the blue block",
    "open the drawer, then press the button",
    "it's the 2nd block that you put on the café's table",
)


def write_tiny_clip(
    folder: Path, *, width: int = 16, pooled: int = 12, as_published: bool = False, seed: int = 0
) -> Path:
    """The text half; ``as_published`` both halves, in half precision, with a configuration that puts the end of a sentence at its
    highest token (2)."""
    vocabulary, merges = _vocabulary()
    CLIPTokenizer(vocab=vocabulary, merges=merges).save_pretrained(folder)
    torch.manual_seed(seed)
    config = CLIPTextConfig(
        vocab_size=len(vocabulary),
        hidden_size=width,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        projection_dim=pooled,
        bos_token_id=vocabulary[BEGIN],
        eos_token_id=2 if as_published else vocabulary[END],
        initializer_factor=20.0,  # so that words differ
    )
    if as_published:
        eyes = CLIPVisionConfig(
            hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, image_size=8, patch_size=4
        )
        both = CLIPConfig(text_config=config.to_dict(), vision_config=eyes.to_dict(), projection_dim=pooled)
        CLIPModel(both).half().save_pretrained(folder)
    else:
        CLIPTextModelWithProjection(config).save_pretrained(folder)
    return folder


def _vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """As CLIP's: words end in ``</w>``, and the marks of beginning and end have the highest numbers."""
    tokenizer = Tokenizer(BPE(end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = Sequence([Whitespace(), ByteLevel(add_prefix_space=False)])
    trainer = BpeTrainer(
        vocab_size=400, end_of_word_suffix="</w>", initial_alphabet=ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    said = json.loads(tokenizer.to_str())["model"]
    vocabulary = dict(said["vocab"])
    for mark in (BEGIN, END):
        vocabulary[mark] = len(vocabulary)
    return vocabulary, [(first, second) for first, second in said["merges"]]
