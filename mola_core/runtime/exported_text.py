"""A sentence encoder that a bundle brings along: its tokenizer and its graph, run on the CPU, without torch."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from mola_core.contracts.bundle import BundleError
from mola_core.runtime import stages
from mola_core.runtime.engines.loading import EngineSource
from mola_core.runtime.golden import Golden, parity_of, require_parity
from mola_core.runtime.language import EncodedInstruction
from mola_core.runtime.tensors import on_host

TOKEN_IDS, ATTENDED = "token_ids", "attended"
"""What the graph reads: L, int64; L, true for the words and false for padding, which no word looks at."""
WEIGHTS_DIGEST = "weights_digest"
"""Under this name a graph says which weights it was made of."""


class ExportedText:
    """A ``SentenceEncoder``: ``L`` tokens a sentence, of which all count, as in training; longer sentences are cut.

    The tokenizer's file holds ``L``: it cuts and pads by itself.

    Raises:
        BundleError: the tokenizer's file is absent or damaged.
        EngineError: the graph does not load.
    """

    def __init__(self, *, graph: Path, tokenizer: Path) -> None:
        from mola_core.runtime.engines.onnxruntime import OnnxRuntimeCpu  # noqa: PLC0415  # heavy, as in minilm

        content = _read(tokenizer)
        try:
            self._tokenizer = Tokenizer.from_str(content)
        except Exception as error:  # the library raises nothing more particular
            raise BundleError(f"tokenizer {tokenizer} is damaged ({error}); fetch or make the bundle again") from error
        # one thread: it runs beside the control path, once for each new instruction
        self._engine = OnnxRuntimeCpu(EngineSource(name="language", path=graph, device="cpu", threads=1))
        self.digest = text_digest(self._engine.metadata.get(WEIGHTS_DIGEST, ""), tokenizer=content)

    def encode(self, instruction: str) -> EncodedInstruction:
        """See :class:`~mola_core.runtime.language.SentenceEncoder`."""
        out = self._engine.run(token_arrays(self._tokenizer, instruction))
        tokens = on_host(out[stages.TOKENS])
        return EncodedInstruction(
            tokens=tokens, mask=np.ones(len(tokens), dtype=bool), pooled=on_host(out[stages.POOLED])
        )

    def self_test(self, golden: Golden, *, what: str) -> None:
        """Encode what torch has encoded.

        Raises:
            BundleError: with another result.
        """
        require_parity(parity_of(self._engine, golden), precision="fp32", what=what)


def token_arrays(tokenizer: Tokenizer, instruction: str) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
    """One sentence as the graph reads it; see :data:`TOKEN_IDS`. ``tokenizer`` cuts and pads to the model's length."""
    encoded = tokenizer.encode(instruction)
    return {
        TOKEN_IDS: np.asarray(encoded.ids, dtype=np.int64),
        ATTENDED: np.asarray(encoded.attention_mask, dtype=bool),
    }


def text_digest(weights_digest: str, *, tokenizer: str) -> str:
    """Of a text encoder: of its weights and of the tokenizer's file, which says too how long sentences may be."""
    return hashlib.sha256(f"{weights_digest}\n{tokenizer}".encode()).hexdigest()[:16]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise BundleError(
            f"tokenizer {path} cannot be read ({error.strerror}); fetch or make the bundle again"
        ) from error
    except UnicodeDecodeError as error:
        raise BundleError(f"tokenizer {path} is damaged ({error}); fetch or make the bundle again") from error
