"""Where the latent-action queries look (figure 9 of the paper)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from mola_core.nets.attention import Attention, TransformerBlock
from mola_core.nets.idm import DirectModality, Idm, SpatiotemporalTransformer
from mola_core.nets.mola import Mola
from mola_core.nets.tokens import Transition
from mola_core.training.samples import overlaid, side_by_side


@dataclass(frozen=True)
class Gaze:
    """Attention of the queries to the tokens of each frame; mean over queries, heads and layers."""

    now: Float[Tensor, "B N"]
    future: Float[Tensor, "B N"]


def gaze_of(member: Idm | DirectModality, transition: Transition) -> Gaze:
    """Where ``member`` looks on ``transition``."""
    transformer = member.transformer
    with _listening(transformer) as inputs:
        member(transition.now, transition.future)
    weights = [
        _weights(attention, heard)[:, :, : transformer.num_queries].mean(dim=(1, 2))
        for attention, heard in zip(_attentions(transformer), inputs, strict=True)
    ]
    mean = torch.stack(weights).mean(dim=0)  # B Q+N+1+N
    first, tokens = transformer.num_queries, transition.now.shape[1]
    return Gaze(now=mean[:, first : first + tokens], future=mean[:, first + tokens + 1 :])


def attention_picture(
    model: Mola, transition: Transition, frames: UInt8[np.ndarray, "B C H W 3"]
) -> UInt8[np.ndarray, "height width 3"]:
    """The rows of :func:`attention_rows` as one picture."""
    return side_by_side(attention_rows(model, transition, frames))


def attention_rows(
    model: Mola, transition: Transition, frames: UInt8[np.ndarray, "B C H W 3"]
) -> dict[str, UInt8[np.ndarray, "B H W 3"]]:
    """The present of the tokens' first camera, and over it where each member looks."""
    if model.mixture is None or model.tokens is None:
        raise ValueError("a model without a mixture looks at no transition")
    rows, columns = model.canvas.grid
    present = frames[:, model.tokens.config.cameras[0]]
    shown = {"now": present}
    for name, member in model.mixture.members.items():
        if not isinstance(member, Idm | DirectModality):
            raise TypeError(f"not a member of a mixture: {member}")
        gaze = gaze_of(member, transition)
        for moment, values in (("now", gaze.now), ("future", gaze.future)):
            maps = values[:, : rows * columns].reshape(-1, rows, columns).float().cpu().numpy()
            shown[f"{name} {moment}"] = np.stack(
                [overlaid(frame, heat) for frame, heat in zip(present, maps, strict=True)]
            )
    return shown


@contextmanager
def _listening(transformer: SpatiotemporalTransformer) -> Iterator[list[Tensor]]:
    """What goes into each block's attention."""
    heard: list[Tensor] = []

    def hear(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        heard.append(inputs[0])

    handles = [attention.register_forward_pre_hook(hear) for attention in _attentions(transformer)]
    try:
        yield heard
    finally:
        for handle in handles:
            handle.remove()


def _attentions(transformer: SpatiotemporalTransformer) -> list[Attention]:
    return [block.attention for block in transformer.blocks if isinstance(block, TransformerBlock)]


def _weights(attention: Attention, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B heads N N"]:
    query, key = (
        rearrange(projected, "b n (heads d) -> b heads n d", heads=attention.heads)
        for projected in (attention.query(x), attention.key(x))
    )
    weights: Tensor = (query.float() @ key.float().transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(dim=-1)
    return weights
