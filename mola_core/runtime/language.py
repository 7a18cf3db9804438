"""Instructions as numbers, without torch: what both halves of a policy ask of a sentence encoder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float

from mola_core.contracts.errors import ConfigError


@dataclass(frozen=True)
class EncodedInstruction:
    """One instruction; letters of shapes as in :mod:`mola_core.nets.protocols`."""

    tokens: Float[np.ndarray, "L D"]
    """float32."""
    mask: Bool[np.ndarray, "L"]
    pooled: Float[np.ndarray, "P"]
    """The sentence as one vector, float32."""


class SentenceEncoder(Protocol):
    """A frozen encoder of sentences."""

    digest: str
    """Of its weights and vocabulary; a bundle names the one it was trained with."""

    def encode(self, instruction: str) -> EncodedInstruction:
        """Equal sentences give equal numbers."""
        ...


class RememberingEncoder:
    """Encodes each instruction once: a robot is asked the same thing many times in a row."""

    def __init__(self, encoder: SentenceEncoder, *, capacity: int = 32) -> None:
        self._encoder = encoder
        self._capacity = capacity
        self._known: dict[str, EncodedInstruction] = {}
        self.digest = encoder.digest

    def encode(self, instruction: str) -> EncodedInstruction:
        """See :class:`SentenceEncoder`."""
        known = self._known.get(instruction)
        if known is None:
            if len(self._known) >= self._capacity:
                self._known.pop(next(iter(self._known)))
            known = self._known[instruction] = self._encoder.encode(instruction)
        return known


def require_option(encoder: str, *, weights: Path | None) -> None:
    """Refuse ``--language-weights`` where the model's ``encoder`` (minilm, clip or umt5) has no use for them.

    Raises:
        ConfigError: minilm is installed with the project; or ``weights`` are no folder.
    """
    if weights is None:
        return
    if encoder == "minilm":
        raise ConfigError(
            f"--language-weights {weights}: the model's sentence encoder is minilm, which is installed; leave the option out"
        )
    if not weights.is_dir():  # or transformers would ask the model hub for a name like this
        raise ConfigError(f"--language-weights {weights} is no folder; give that of the weights of {encoder}")
