"""Attention and feed-forward layers that the transformers of this package share.

Three linears instead of one joined: what is exported stays free of slices, and the keys and values of a fixed context can be kept.
"""

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Multi-head attention of ``x`` to ``context`` (to itself when left out)."""

    def __init__(
        self,
        width: int,
        *,
        heads: int,
        head_width: int | None = None,
        context_width: int | None = None,
        in_bias: bool = True,
        out_bias: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if head_width is None and width % heads:
            raise ValueError(f"a width of {width} cannot be shared among {heads} heads")
        inner = heads * (head_width or width // heads)
        self.heads = heads
        self.dropout = dropout
        self.query = nn.Linear(width, inner, bias=in_bias)
        self.key = nn.Linear(context_width or width, inner, bias=in_bias)
        self.value = nn.Linear(context_width or width, inner, bias=in_bias)
        self.out = nn.Linear(inner, width, bias=out_bias)

    def forward(
        self,
        x: Float[Tensor, "B N D"],
        *,
        context: Float[Tensor, "B M E"] | None = None,
        mask: Bool[Tensor, "B M"] | None = None,
        causal: bool = False,
    ) -> Float[Tensor, "B N D"]:
        context = x if context is None else context
        query, key, value = (
            rearrange(projected, "b n (heads d) -> b heads n d", heads=self.heads)
            for projected in (self.query(x), self.key(context), self.value(context))
        )  # B heads N|M d
        attend = _in_plain_steps if query.device.type == "cpu" and query.requires_grad else _fused
        mixed = attend(query, key, value, mask=mask, dropout=self.dropout if self.training else 0.0, causal=causal)
        mixed = rearrange(mixed, "b heads n d -> b n (heads d)")
        out: Tensor = self.out(mixed)  # B N D
        return out


def _fused(
    query: Tensor, key: Tensor, value: Tensor, *, mask: Bool[Tensor, "B M"] | None, dropout: float, causal: bool
) -> Float[Tensor, "B heads N d"]:
    seen = None if mask is None else mask[:, None, None, :]
    return functional.scaled_dot_product_attention(
        query, key, value, attn_mask=seen, dropout_p=dropout, is_causal=causal
    )


def _in_plain_steps(
    query: Tensor, key: Tensor, value: Tensor, *, mask: Bool[Tensor, "B M"] | None, dropout: float, causal: bool
) -> Float[Tensor, "B heads N d"]:
    """The same for training on a CPU, where the gradient of the fused kernel takes five times as long on short sequences."""
    scores = query * query.shape[-1] ** -0.5 @ key.transpose(-1, -2)  # B heads N M
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None, None, :], -torch.inf)
    if causal:
        scores = scores.masked_fill(scores.new_ones(scores.shape[-2:], dtype=torch.bool).triu(1), -torch.inf)
    shares = functional.dropout(scores.softmax(dim=-1).to(value.dtype), p=dropout)
    out: Tensor = shares @ value
    return out


class FeedForward(nn.Module):
    """Linear, GELU, linear."""

    def __init__(self, width: int, *, inner: int, bias: bool = True, dropout: float = 0.0) -> None:
        super().__init__()
        self.rise = nn.Linear(width, inner, bias=bias)
        self.fall = nn.Linear(inner, width, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "*n D"]) -> Float[Tensor, "*n D"]:
        out: Tensor = self.dropout(self.fall(functional.gelu(self.rise(x))))
        return out


class TransformerBlock(nn.Module):
    """Pre-norm self-attention and feed-forward, as in ViT."""

    def __init__(self, width: int, *, heads: int, mlp_width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width, eps=eps)
        self.attention = Attention(width, heads=heads)
        self.norm_mlp = nn.LayerNorm(width, eps=eps)
        self.mlp = FeedForward(width, inner=mlp_width)

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        x = x + self.attention(self.norm_attention(x))
        out: Tensor = x + self.mlp(self.norm_mlp(x))
        return out
