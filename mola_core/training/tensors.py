"""Between the data's numpy and the networks' tensors."""

from collections.abc import Sequence

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from mola_core.nets.protocols import Instruction
from mola_core.runtime.language import EncodedInstruction, SentenceEncoder
from mola_core.training.stage import Batch

_ENCODED_AHEAD = 2_000
_WORDS = ("words", "words_mask", "sentence")


def as_pictures(frames: UInt8[Tensor, "*batch H W 3"]) -> Float[Tensor, "*batch 3 H W"]:
    """What networks see: channels first, in [-1, 1]."""
    return rearrange(frames.float() / 127.5 - 1.0, "... h w d -> ... d h w")


def as_frames(pictures: Float[Tensor, "*batch 3 H W"]) -> UInt8[np.ndarray, "*batch H W 3"]:
    """What people see."""
    bounded = ((pictures.float() + 1.0) * 127.5).round().clamp(0.0, 255.0)
    return rearrange(bounded, "... d h w -> ... h w d").to(torch.uint8).cpu().numpy()


class EncodedSentences:
    """The sentences of a dataset, each encoded when it is first needed."""

    def __init__(self, sentences: Sequence[str], *, encoder: SentenceEncoder) -> None:
        self._sentences = tuple(sentences)
        self._encoder = encoder
        self._known: dict[str, EncodedInstruction] = {}
        if len(sentences) <= _ENCODED_AHEAD:
            self.of(sentences)  # not in the middle of a step

    def batch(self, numbers: Int[np.ndarray, "B"]) -> Batch:
        """Of the sentences with these numbers, for :func:`instruction_in`."""
        return self.of([self._sentences[number] for number in numbers])

    @property
    def every(self) -> Batch:
        """All of them, in the order of their numbers."""
        return self.of(self._sentences)

    def of(self, sentences: Sequence[str]) -> Batch:
        """The same for any sentences."""
        for sentence in sentences:
            if sentence not in self._known:
                self._known[sentence] = self._encoder.encode(sentence)
        each = [self._known[sentence] for sentence in sentences]
        words = np.stack([encoded.tokens for encoded in each]).astype(np.float32)
        mask = np.stack([encoded.mask for encoded in each])
        pooled = np.stack([encoded.pooled for encoded in each]).astype(np.float32)
        return dict(
            zip(_WORDS, (torch.from_numpy(words), torch.from_numpy(mask), torch.from_numpy(pooled)), strict=True)
        )


def instruction_in(batch: Batch) -> Instruction:
    """The instruction that :meth:`EncodedSentences.batch` has put into a batch."""
    words, mask, pooled = (batch[name] for name in _WORDS)
    return Instruction(tokens=words, mask=mask, pooled=pooled)


def withheld(instruction: Instruction, *, where: Bool[Tensor, "B"]) -> Instruction:
    """Nothing said where ``where`` is true: one empty word and no sentence."""
    empty = torch.zeros_like(instruction.mask)
    empty[:, 0] = True
    keep = (~where).to(instruction.tokens.dtype)
    return Instruction(
        tokens=instruction.tokens * keep[:, None, None],
        mask=torch.where(where[:, None], empty, instruction.mask),
        pooled=instruction.pooled * keep[:, None],
    )
