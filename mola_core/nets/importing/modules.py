"""Where the tensors of each of our modules are in the published ones."""

from functools import partial

import torch
from torch import Tensor

from mola_core.nets.config import DitConfig, IdmConfig, VideoFormerConfig
from mola_core.nets.importing.plan import Made, Plan, Taken, layer


def idm_plan(config: IdmConfig) -> Plan:
    """One inverse dynamics model. The published one gives now and future the same kind of token, the first of its two."""
    form, blocks = "m_former.embeddings.", "m_former.encoder.layer."
    entries: dict[str, Taken | Made] = {
        **layer("transformer.enter", f"{form}projection"),
        "transformer.queries": Taken(f"{form}latent_motion_token"),
        "transformer.separator": Taken(f"{form}sep_token"),
        "transformer.positions": Taken(f"{form}position_embeddings_new"),
        "transformer.kinds": Taken(f"{form}token_type_embeddings", _first_twice),
        **layer("transformer.norm", "m_former.layernorm"),
        "codebook.codes": Taken("vector_quantizer.embedding.weight"),
        "codebook.usage": Made(torch.full((config.codebook.size,), 1 / config.codebook.size)),
        "codebook.spared": Made(torch.zeros(config.codebook.size, dtype=torch.int64)),
        "codebook.started": Made(torch.tensor(True)),
    }
    for number in range(config.layers):
        ours, theirs = f"transformer.blocks.{number}", f"{blocks}{number}"
        entries |= layer(f"{ours}.norm_attention", f"{theirs}.layernorm_before")
        for part in ("query", "key", "value"):
            entries |= layer(f"{ours}.attention.{part}", f"{theirs}.attention.attention.{part}")
        entries |= layer(f"{ours}.attention.out", f"{theirs}.attention.output.dense")
        entries |= layer(f"{ours}.norm_mlp", f"{theirs}.layernorm_after")
        entries |= layer(f"{ours}.mlp.rise", f"{theirs}.intermediate.dense")
        entries |= layer(f"{ours}.mlp.fall", f"{theirs}.output.dense")
    for ours, theirs in (("down", "vq_down_resampler"), ("up", "vq_up_resampler")):
        entries |= layer(f"{ours}.0", f"{theirs}.0") | layer(f"{ours}.2", f"{theirs}.2")
    return Plan(entries=entries)


def video_former_plan(config: VideoFormerConfig) -> Plan:
    """The resampler of features, whose published attention in time keeps query, key and value in one matrix."""
    entries: dict[str, Taken | Made] = {
        **layer("enter.rise", "goal_emb.0"),
        **layer("enter.fall", "goal_emb.2"),
        "queries": Taken("latents"),
        "frame": Taken("time_pos_emb"),
        **layer("norm", "norm"),
    }
    for number in range(config.depth):
        ours, theirs = f"layers.{number}", f"layers.{number}"
        entries |= layer(f"{ours}.norm_features", f"{theirs}.0.norm_media")
        entries |= layer(f"{ours}.norm_queries", f"{theirs}.0.norm_latents")
        for part, name in (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("out", "to_out")):
            entries |= layer(f"{ours}.read.{part}", f"{theirs}.0.{name}", bias=False)
        for third, part in enumerate(("query", "key", "value")):
            for kind in ("weight", "bias"):
                entries[f"{ours}.time.{part}.{kind}"] = Taken(f"{theirs}.1.qkv.{kind}", partial(_third, number=third))
        entries |= layer(f"{ours}.time.out", f"{theirs}.1.proj")
        entries |= layer(f"{ours}.norm_mlp", f"{theirs}.2.0")
        entries |= layer(f"{ours}.mlp.rise", f"{theirs}.2.1", bias=False)
        entries |= layer(f"{ours}.mlp.fall", f"{theirs}.2.3", bias=False)
    return Plan(entries=entries)


def tokens_plan() -> Plan:
    """The projection of features before the inverse dynamics models."""
    return Plan(
        entries={
            **layer("project.rise", "goal_emb.0"),
            **layer("project.fall", "goal_emb.2"),
            "moment": Taken("time_pos_emb"),
        }
    )


def head_plan(config: DitConfig, *, horizon: int, context: int) -> Plan:
    """The denoiser. Published and never used: an embedding of goal pictures, one of the state, and positions."""
    entries: dict[str, Taken | Made] = {
        **layer("encoder.goal.rise", "lang_emb.0"),
        **layer("encoder.goal.fall", "lang_emb.2"),
        **layer("encoder.visual", "tok_emb"),
        **layer("encoder.latents", "tok_emb_token"),
        **layer("encoder.norm", "encoder.ln", bias=False),
        "encoder.positions": Made(torch.zeros(1, context, config.width)),
        **layer("time.rise", "sigma_emb.1"),
        **layer("time.fall", "sigma_emb.3"),
        **layer("rows", "action_emb"),
        "positions": Made(torch.zeros(1, horizon, config.width)),
        **layer("norm", "decoder.ln", bias=False),
        **layer("leave", "action_pred"),
    }
    for number in range(config.encoder_layers):
        entries |= _block(f"encoder.layers.{number}", f"encoder.blocks.{number}")
    for number in range(config.decoder_layers):
        ours, theirs = f"layers.{number}", f"decoder.blocks.{number}"
        entries |= _block(ours, theirs) | _attention(f"{ours}.cross", f"{theirs}.cross_att")
        entries |= layer(f"{ours}.norm_context", f"{theirs}.ln3")
        entries[f"{ours}.modulation.weight"] = Taken(f"{theirs}.adaLN_zero.modulation.1.weight")
        entries[f"{ours}.modulation.bias"] = Taken(f"{theirs}.adaLN_zero.modulation.1.bias", _scales_from_one)
    return Plan(entries=entries, dropped=("goal_emb.", "proprio_emb.", "pos_emb"))


def _block(ours: str, theirs: str) -> dict[str, Taken | Made]:
    return {
        **layer(f"{ours}.norm_attention", f"{theirs}.ln_1", bias=False),
        **_attention(f"{ours}.attention", f"{theirs}.attn"),
        **layer(f"{ours}.norm_mlp", f"{theirs}.ln_2", bias=False),
        **layer(f"{ours}.mlp.rise", f"{theirs}.mlp.c_fc", bias=False),
        **layer(f"{ours}.mlp.fall", f"{theirs}.mlp.c_proj", bias=False),
    }


def _attention(ours: str, theirs: str) -> dict[str, Taken | Made]:
    entries = layer(f"{ours}.out", f"{theirs}.c_proj", bias=False)
    for part in ("query", "key", "value"):
        entries |= layer(f"{ours}.{part}", f"{theirs}.{part}")
    return entries


def _first_twice(kinds: Tensor) -> Tensor:
    return torch.stack((kinds[0], kinds[0]))


def _third(joined: Tensor, *, number: int) -> Tensor:
    return joined.chunk(3, dim=0)[number].clone()


def _scales_from_one(bias: Tensor) -> Tensor:
    """The published modulation multiplies by what the layer gives, ours by one more than that."""
    shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = bias.chunk(6)
    return torch.cat((shift, scale - 1, gate, shift_mlp, scale_mlp - 1, gate_mlp))
