"""The published modules once more, from the names and shapes of their weights: an independent statement to compare imports with.

Each function takes a dictionary of tensors by their published names. Nothing here uses the project's own layers.
"""

import math

import torch
import torch.nn.functional as F  # noqa: N812  the usual name


def linear_shapes(name, width_in, width_out, *, bias=True):
    shapes = {f"{name}.weight": (width_out, width_in)}
    return shapes | ({f"{name}.bias": (width_out,)} if bias else {})


def norm_shapes(name, width, *, bias=True):
    shapes = {f"{name}.weight": (width,)}
    return shapes | ({f"{name}.bias": (width,)} if bias else {})


def idm_shapes(*, queries=8, tokens=256, width_in=1024, width=768, layers=4, inner=3072, codes=128, code=32):
    form = "m_former.embeddings"
    shapes = {
        f"{form}.latent_motion_token": (1, queries, width),
        f"{form}.sep_token": (1, 1, width),
        f"{form}.position_embeddings_new": (1, queries + 2 * tokens + 1, width),
        f"{form}.token_type_embeddings": (2, width),
        "vector_quantizer.embedding.weight": (codes, code),
        **linear_shapes(f"{form}.projection", width_in, width),
        **norm_shapes("m_former.layernorm", width),
        **linear_shapes("vq_down_resampler.0", width, width),
        **linear_shapes("vq_down_resampler.2", width, code),
        **linear_shapes("vq_up_resampler.0", code, code),
        **linear_shapes("vq_up_resampler.2", code, width),
    }
    for number in range(layers):
        block = f"m_former.encoder.layer.{number}"
        for part in ("query", "key", "value"):
            shapes |= linear_shapes(f"{block}.attention.attention.{part}", width, width)
        shapes |= linear_shapes(f"{block}.attention.output.dense", width, width)
        shapes |= linear_shapes(f"{block}.intermediate.dense", width, inner)
        shapes |= linear_shapes(f"{block}.output.dense", inner, width)
        shapes |= norm_shapes(f"{block}.layernorm_before", width) | norm_shapes(f"{block}.layernorm_after", width)
    return shapes


def former_shapes(*, width_in=2560, width=384, depth=6, inner=512, frames=16, queries=14):
    shapes = {
        "latents": (frames, queries, width),
        "time_pos_emb": (frames, 1, width),
        **linear_shapes("goal_emb.0", width_in, 2 * width),
        **linear_shapes("goal_emb.2", 2 * width, width),
        **norm_shapes("norm", width),
    }
    for number in range(depth):
        block = f"layers.{number}"
        shapes |= norm_shapes(f"{block}.0.norm_media", width) | norm_shapes(f"{block}.0.norm_latents", width)
        for part in ("to_q", "to_k", "to_v"):
            shapes |= linear_shapes(f"{block}.0.{part}", width, inner, bias=False)
        shapes |= linear_shapes(f"{block}.0.to_out", inner, width, bias=False)
        shapes |= linear_shapes(f"{block}.1.qkv", width, 3 * width) | linear_shapes(f"{block}.1.proj", width, width)
        shapes |= norm_shapes(f"{block}.2.0", width)
        shapes |= linear_shapes(f"{block}.2.1", width, 4 * width, bias=False)
        shapes |= linear_shapes(f"{block}.2.3", 4 * width, width, bias=False)
    return shapes


def head_shapes(
    *, width=384, layers=4, decoder_layers=None, goal=512, latent=768, visual=224, visual_width=384, rows=10, actions=7
):
    shapes = {
        "pos_emb": (1, 1 + visual + rows, width),
        "encoder.ln.weight": (width,),
        "decoder.ln.weight": (width,),
        **linear_shapes("tok_emb", visual_width, width),
        **linear_shapes("tok_emb_token", latent, width),
        **linear_shapes("action_emb", actions, width),
        **linear_shapes("action_pred", width, actions),
    }
    for name, width_in in (("goal_emb", goal), ("lang_emb", goal), ("proprio_emb", 8)):
        shapes |= linear_shapes(f"{name}.0", width_in, 2 * width) | linear_shapes(f"{name}.2", 2 * width, width)
    shapes |= linear_shapes("sigma_emb.1", width, 2 * width) | linear_shapes("sigma_emb.3", 2 * width, width)
    for side, count in (("encoder", layers), ("decoder", decoder_layers or layers)):
        for number in range(count):
            block = f"{side}.blocks.{number}"
            for attention in ("attn", "cross_att") if side == "decoder" else ("attn",):
                for part in ("key", "query", "value"):
                    shapes |= linear_shapes(f"{block}.{attention}.{part}", width, width)
                shapes |= linear_shapes(f"{block}.{attention}.c_proj", width, width, bias=False)
            shapes |= {f"{block}.ln_1.weight": (width,), f"{block}.ln_2.weight": (width,)}
            shapes |= linear_shapes(f"{block}.mlp.c_fc", width, 4 * width, bias=False)
            shapes |= linear_shapes(f"{block}.mlp.c_proj", 4 * width, width, bias=False)
            if side == "decoder":
                shapes |= norm_shapes(f"{block}.ln3", width)
                shapes |= linear_shapes(f"{block}.adaLN_zero.modulation.1", width, 6 * width)
    return shapes


def action_model_shapes(*, idm, former, head, feature_width=2560, token_width=1024):
    """The whole file of stage III, with the frozen encoders that it repeats shown by one tensor each."""
    shapes = {
        "time_pos_emb": (2, 1, token_width),
        **linear_shapes("goal_emb.0", feature_width, token_width),
        **linear_shapes("goal_emb.2", token_width, token_width),
        "language_goal.clip_rn50.logit_scale": (),
        "TVP_encoder.text_encoder.text_projection.weight": (8, 8),
    }
    shapes |= {f"Video_Former.{name}": shape for name, shape in former.items()}
    shapes |= {f"model.inner_model.{name}": shape for name, shape in head.items()}
    for member in ("flow", "depth", "semantic"):
        shapes |= {f"latent_{member}_motion_tokenizer.{name}": shape for name, shape in idm.items()}
    return shapes


class Published:
    """Weights by name, below a prefix."""

    def __init__(self, weights, prefix=""):
        self.weights, self.prefix = weights, prefix

    def below(self, name):
        return Published(self.weights, f"{self.prefix}{name}.")

    def __getitem__(self, name):
        return self.weights[self.prefix + name]

    def linear(self, name, x):
        return F.linear(x, self[f"{name}.weight"], self.weights.get(f"{self.prefix}{name}.bias"))

    def norm(self, name, x, eps=1e-5):
        weight = self[f"{name}.weight"]
        return F.layer_norm(x, weight.shape, weight, self.weights.get(f"{self.prefix}{name}.bias"), eps)


def attended(query, key, value, heads, *, mask=None):
    def split(x):
        return x.unflatten(-1, (heads, -1)).transpose(1, 2)

    scores = split(query) @ split(key).transpose(-1, -2) / math.sqrt(query.shape[-1] // heads)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return (scores.softmax(dim=-1) @ split(value)).transpose(1, 2).flatten(-2)


def idm(w, now, future, *, heads, layers):
    """(latent actions, code indices) of one inverse dynamics model."""
    form = w.below("m_former.embeddings")
    batch = len(now)
    queries, separator = (form[name].expand(batch, -1, -1) for name in ("latent_motion_token", "sep_token"))
    x = torch.cat((queries, form.linear("projection", now), separator, form.linear("projection", future)), dim=1)
    x = x + form["position_embeddings_new"] + form["token_type_embeddings"][0]
    for number in range(layers):
        block = w.below(f"m_former.encoder.layer.{number}")
        y = block.norm("layernorm_before", x, 1e-12)
        query, key, value = (block.linear(f"attention.attention.{part}", y) for part in ("query", "key", "value"))
        x = x + block.linear("attention.output.dense", attended(query, key, value, heads))
        y = F.gelu(block.linear("intermediate.dense", block.norm("layernorm_after", x, 1e-12)))
        x = x + block.linear("output.dense", y)
    x = w.below("m_former").norm("layernorm", x, 1e-12)[:, : queries.shape[1]]
    x = w.linear("vq_down_resampler.2", w.linear("vq_down_resampler.0", x).tanh())
    codes = w["vector_quantizer.embedding.weight"]
    indices = torch.cdist(x, codes[None].expand(batch, -1, -1)).argmin(dim=-1)
    return w.linear("vq_up_resampler.2", w.linear("vq_up_resampler.0", codes[indices]).tanh()), indices


def video_former(w, features, *, heads, time_heads, depth):
    """Tokens of features B T n F."""
    batch, frames = features.shape[:2]
    x = w.linear("goal_emb.2", F.gelu(w.linear("goal_emb.0", features))) + w["time_pos_emb"]
    x = x.flatten(0, 1)
    latents = w["latents"].repeat(batch, 1, 1)
    for number in range(depth):
        read, mlp = w.below(f"layers.{number}.0"), w.below(f"layers.{number}.2")
        asking = read.norm("norm_latents", latents)
        told = torch.cat((read.norm("norm_media", x), asking), dim=1)
        mixed = attended(read.linear("to_q", asking), read.linear("to_k", told), read.linear("to_v", told), heads)
        latents = latents + read.linear("to_out", mixed)
        rows = latents.unflatten(0, (batch, frames)).transpose(1, 2).flatten(0, 1)  # the same query over time
        time = w.below(f"layers.{number}.1")
        query, key, value = time.linear("qkv", rows).chunk(3, dim=-1)
        rows = rows + time.linear("proj", attended(query, key, value, time_heads))
        latents = rows.unflatten(0, (batch, -1)).transpose(1, 2).flatten(0, 1)
        latents = latents + mlp.linear("3", F.gelu(mlp.linear("1", mlp.norm("0", latents))))
    return w.norm("norm", latents.unflatten(0, (batch, frames)).flatten(1, 2))


def denoised(w, noisy, sigma, *, goal, visual, latents, heads, layers, sigma_data):
    """The clean guess of the published denoiser; its attention to the context is masked like that among actions."""
    goal = w.linear("lang_emb.2", F.gelu(w.linear("lang_emb.0", goal)))[:, None]
    context = torch.cat((goal, w.linear("tok_emb", visual), w.linear("tok_emb_token", latents)), dim=1)
    for number in range(layers):
        block = w.below(f"encoder.blocks.{number}")
        y = block.norm("ln_1", context)
        context = context + _attention(block.below("attn"), y, y, heads)
        context = context + _mlp(block, block.norm("ln_2", context))
    context = w.norm("encoder.ln", context)

    width = w["sigma_emb.1.weight"].shape[1]
    frequencies = torch.exp(torch.arange(width // 2) * (-math.log(10000) / (width // 2 - 1)))
    angles = (sigma.log() / 4)[:, None] * frequencies
    time = torch.cat((angles.sin(), angles.cos()), dim=-1)
    time = w.linear("sigma_emb.3", F.mish(w.linear("sigma_emb.1", time)))[:, None]

    s = sigma[:, None, None]
    x = w.linear("action_emb", noisy / (s**2 + sigma_data**2).sqrt())
    for number in range(layers):
        block = w.below(f"decoder.blocks.{number}")
        parts = block.linear("adaLN_zero.modulation.1", F.silu(time)).chunk(6, dim=-1)
        y = parts[0] + block.norm("ln_1", x) * parts[1]
        x = x + parts[2] * _attention(block.below("attn"), y, y, heads, causal=True)
        x = x + _attention(block.below("cross_att"), block.norm("ln3", x), context, heads, causal=True)
        y = parts[3] + block.norm("ln_2", x) * parts[4]
        x = x + parts[5] * _mlp(block, y)
    out = w.linear("action_pred", w.norm("decoder.ln", x))
    total = s**2 + sigma_data**2
    return noisy * sigma_data**2 / total + out * s * sigma_data / total.sqrt()


def _attention(w, x, context, heads, *, causal=False):
    mask = torch.ones(x.shape[1], context.shape[1], dtype=torch.bool).tril() if causal else None
    query, key, value = w.linear("query", x), w.linear("key", context), w.linear("value", context)
    return w.linear("c_proj", attended(query, key, value, heads, mask=mask))


def _mlp(block, x):
    return block.linear("mlp.c_proj", F.gelu(block.linear("mlp.c_fc", x)))
