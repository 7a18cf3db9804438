"""Sentence encoders for training: many instructions at once, as tensors; frozen, and each sentence is encoded only once."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from tokenizers import Tokenizer

from mola_core.contracts.errors import ConfigError
from mola_core.data.downloads import said_of_damage
from mola_core.nets.config import LanguageConfig
from mola_core.nets.protocols import Instruction
from mola_core.runtime.exported_text import ATTENDED, TOKEN_IDS, text_digest, token_arrays
from mola_core.runtime.language import EncodedInstruction, RememberingEncoder, SentenceEncoder
from mola_core.runtime.minilm import MiniLm

CLIP_NAME = "openai/clip-vit-base-patch32"
WAN_NAME = "Wan-AI/Wan2.2-TI2V-5B-Diffusers"
REMEMBERED = 4096


class ClipText:
    """The text half of CLIP ViT-B/32: last hidden states (512 wide) as tokens, the projected sentence as pooled vector.

    Padding counts as tokens, as in the release, whose video model was trained so. The weights are the user's: a folder, or the name
    under which the model hub keeps them.

    Raises:
        ConfigError: the weights cannot be loaded.
    """

    def __init__(self, weights: str | Path = CLIP_NAME, *, length: int = 20) -> None:
        from transformers import CLIPTextModelWithProjection, CLIPTokenizer  # noqa: PLC0415  heavy, full size only

        try:
            tokenizer = CLIPTokenizer.from_pretrained(str(weights))
            loaded: Any = CLIPTextModelWithProjection.from_pretrained(
                str(weights), dtype=torch.float32, output_loading_info=True
            )
        except SafetensorError as error:
            raise ConfigError(said_of_damage(weights, error)) from error
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"no CLIP text encoder at {str(weights)!r}: give the folder of the weights of {CLIP_NAME} with "
                f"--language-weights ({error})"
            ) from error
        self.model: Any
        self.model, found = loaded
        if found["missing_keys"]:  # transformers would go on with random ones
            raise ConfigError(
                f"{str(weights)!r} lacks {', '.join(sorted(found['missing_keys']))}; give the folder of the weights of {CLIP_NAME}"
            )
        self.model.requires_grad_(False).train(False)
        self.length = length
        # without transformers around it, as a robot has it: what is trained with is what runs
        self.tokenizer: Tokenizer = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self.tokenizer.enable_truncation(max_length=length)
        self.tokenizer.enable_padding(length=length, pad_id=tokenizer.pad_token_id, pad_token=tokenizer.pad_token)
        self.weights_digest = _digest_of(self.model)
        self.digest = text_digest(self.weights_digest, tokenizer=self.tokenizer.to_str())

    @property
    def token_width(self) -> int:
        """D."""
        return int(self.model.config.hidden_size)

    @property
    def pooled_width(self) -> int:
        """P."""
        return int(self.model.config.projection_dim)

    @torch.no_grad()
    def encode(self, instruction: str) -> EncodedInstruction:
        """``length`` tokens, of which all count."""
        numbers = {name: torch.from_numpy(array) for name, array in token_arrays(self.tokenizer, instruction).items()}
        out = self.model(input_ids=numbers[TOKEN_IDS][None], attention_mask=numbers[ATTENDED][None].long())
        return EncodedInstruction(
            tokens=out.last_hidden_state[0].numpy(),
            mask=np.ones(self.length, dtype=bool),
            pooled=out.text_embeds[0].numpy(),
        )


class Umt5Text:
    """The text half of Wan2.2: UMT5-XXL's hidden states (4096 wide) as tokens, their mean as pooled vector.

    ``weights`` is a folder as diffusers keeps them for Wan, with ``tokenizer`` and ``text_encoder`` in it.

    Raises:
        ConfigError: the weights cannot be loaded.
    """

    def __init__(self, weights: str | Path = WAN_NAME, *, length: int = 64) -> None:
        from transformers import AutoTokenizer, UMT5EncoderModel  # noqa: PLC0415  heavy, full size only

        try:
            self._tokenizer = AutoTokenizer.from_pretrained(str(weights), subfolder="tokenizer")
            self._model = UMT5EncoderModel.from_pretrained(str(weights), subfolder="text_encoder")
        except SafetensorError as error:
            raise ConfigError(said_of_damage(weights, error)) from error
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"no UMT5 text encoder at {str(weights)!r}: give the folder of {WAN_NAME} with --language-weights ({error})"
            ) from error
        self._model.requires_grad_(False).train(False)
        self._length = length
        vocabulary = json.dumps(self._tokenizer.get_vocab(), sort_keys=True)
        self.digest = text_digest(_digest_of(self._model), tokenizer=vocabulary)

    @property
    def token_width(self) -> int:
        """D."""
        return int(self._model.config.d_model)

    @property
    def pooled_width(self) -> int:
        """P."""
        return self.token_width

    @torch.no_grad()
    def encode(self, instruction: str) -> EncodedInstruction:
        """``length`` tokens, of which those of the sentence count."""
        numbers = self._tokenizer(
            instruction, padding="max_length", truncation=True, max_length=self._length, return_tensors="pt"
        )
        hidden = self._model(**numbers).last_hidden_state[0].float().numpy()
        mask = numbers["attention_mask"][0].numpy().astype(bool)
        return EncodedInstruction(tokens=hidden * mask[:, None], mask=mask, pooled=hidden[mask].mean(axis=0))


def _digest_of(model: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def build_encoder(config: LanguageConfig, *, weights: Path | None = None) -> SentenceEncoder:
    """The encoder of ``config``; ``weights`` is the folder of CLIP's or UMT5's, where it is one of them.

    Raises:
        ConfigError: the weights cannot be loaded, or are of another size than ``config`` says.
    """
    if config.encoder == "minilm":
        return RememberingEncoder(MiniLm(length=config.length), capacity=REMEMBERED)
    encoder: ClipText | Umt5Text
    if config.encoder == "clip":
        encoder = ClipText(CLIP_NAME if weights is None else weights, length=config.length)
    else:
        encoder = Umt5Text(WAN_NAME if weights is None else weights, length=config.length)
    require_widths(encoder, config)
    return RememberingEncoder(encoder, capacity=REMEMBERED)


def require_widths(encoder: ClipText | Umt5Text, config: LanguageConfig) -> None:
    """Refuse what the model of ``config`` cannot read.

    Raises:
        ConfigError: tokens or pooled vectors have another width.
    """
    widths, wanted = (encoder.token_width, encoder.pooled_width), (config.token_width, config.pooled_width)
    if widths != wanted:
        raise ConfigError(
            f"the text encoder gives tokens of {widths[0]} and sentences of {widths[1]} numbers, the model reads {wanted[0]} and "
            f"{wanted[1]}; give the folder of the encoder that it was trained with: --language-weights FOLDER"
        )


def instruction_of(
    encoder: SentenceEncoder, sentences: Sequence[str], *, device: torch.device | str = "cpu"
) -> Instruction:
    """One sentence for each item of the batch."""
    encoded = [encoder.encode(sentence) for sentence in sentences]
    return Instruction(
        tokens=torch.from_numpy(np.stack([each.tokens for each in encoded])).to(device),
        mask=torch.from_numpy(np.stack([each.mask for each in encoded])).to(device),
        pooled=torch.from_numpy(np.stack([each.pooled for each in encoded])).to(device),
    )
