"""Cross-attention to words whose keys and values can be computed once per instruction.

In the video UNet the same few words are read by every frame and every cell. Since a query's answer does not depend on other queries,
all queries of a batch item are laid in one row and read its keys and values in place: nothing is repeated, and what is read can be
kept.
"""

from dataclasses import dataclass
from typing import Any

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class KeysValues:
    keys: Float[Tensor, "B heads L d"]
    values: Float[Tensor, "B heads L d"]


@dataclass(frozen=True)
class WordMemory:
    """Of one instruction, for every cross-attention of a network in its order."""

    kept: tuple[KeysValues, ...]


class WordAttention:
    """Replaces the processor of one of diffusers' cross-attentions; reads what it was told instead of the words it is called with."""

    def __init__(self, attention: Any) -> None:
        self._attention = attention
        self._told: KeysValues | Float[Tensor, "B L E"] | None = None

    def tell(self, told: KeysValues | Float[Tensor, "B L E"]) -> None:
        """What to read from now on: words, or what is remembered of them.

        Words are projected inside the attention's own call, where its weights are: those of a sharded network are gathered for that
        call alone, and recomputed activations do not keep what it can make again.
        """
        self._told = told

    def remember(self, words: Float[Tensor, "B L E"]) -> KeysValues:
        """Keys and values of ``words``."""
        heads = self._attention.heads
        keys, values = (
            rearrange(project(words), "b l (heads d) -> b heads l d", heads=heads)
            for project in (self._attention.to_k, self._attention.to_v)
        )
        return KeysValues(keys=keys, values=values)

    def __call__(
        self, attention: Any, hidden_states: Float[Tensor, "BR N D"], *_: object, **__: object
    ) -> Float[Tensor, "BR N D"]:
        if self._told is None:
            raise RuntimeError("cross-attention without words: tell it some before it is called")
        kept = self._told if isinstance(self._told, KeysValues) else self.remember(self._told)
        rows = len(hidden_states) // len(kept.keys)  # R frames or cells for each batch item
        # rows are joined before heads part, and the other way round: TensorRT-RTX 1.7 fails on a transposition of all five axes
        query = rearrange(attention.to_q(hidden_states), "(b r) n width -> b (r n) width", r=rows)
        query = rearrange(query, "b n (heads d) -> b heads n d", heads=attention.heads)
        read = functional.scaled_dot_product_attention(query, kept.keys, kept.values)
        read = rearrange(read, "b heads n d -> b n (heads d)")
        read = rearrange(read, "b (r n) width -> (b r) n width", r=rows)
        out: Tensor = attention.to_out[0](read)
        return out


def install_word_attention(unet: nn.Module) -> list[WordAttention]:
    """Put a :class:`WordAttention` into every cross-attention of ``unet``, in the order of its modules."""
    installed = []
    for name, module in unet.named_modules():
        if name.endswith("attn2"):
            processor = WordAttention(module)
            module.set_processor(processor)
            installed.append(processor)
    return installed
