"""The whole line at a tiny size: every variant acts, learns and repeats itself."""

import pytest
import torch

from mola_core.nets.config import (
    DEPTH,
    FLOW,
    ArHeadConfig,
    EdmHeadConfig,
    ImageEncoderConfig,
    MemberConfig,
    MixtureConfig,
    MolaConfig,
    PixelTokensConfig,
)
from mola_core.nets.mola import build_mola, build_pretraining
from tests.nets.conftest import DIT, IDM, TINY, drawn

ENCODER = ImageEncoderConfig(height=32, width=48, widths=(8, 16), token_width=32)
VARIANTS = {
    "three idms": {},
    "one modality": {"mixture": TINY.mixture.model_copy(update={"members": (FLOW,)})},
    "rgb alone": {"mixture": TINY.mixture.model_copy(update={"members": (MemberConfig(name="rgb", targets=()),)})},
    "one idm, all losses": {
        "mixture": TINY.mixture.model_copy(
            update={"members": (MemberConfig(name="all", targets=("semantic", "depth", "flow")),)}
        )
    },
    "direct input": {
        "mixture": TINY.mixture.model_copy(
            update={"members": (DEPTH.model_copy(update={"bottleneck": "none"}), FLOW)},
        )
    },
    "pixels": {
        "mixture": MixtureConfig(
            tokens=PixelTokensConfig(width=24, patch=8, depth=1, heads=2, future_frame=2),
            idm=IDM,
            decoders=TINY.mixture.decoders,
        )
    },
    "features straight to the head": {"mixture": None},
    "edm head": {"head": EdmHeadConfig(dit=DIT, steps=4)},
    "autoregressive head": {"head": ArHeadConfig(dit=DIT, bins=16)},
    "no state, no words": {
        "state_size": 0,
        "head": TINY.head.model_copy(update={"dit": DIT.model_copy(update={"words": False})}),
    },
    "diffusion policy": {"backbone": None, "mixture": None, "visual": ENCODER},
}


def variant(name):
    return MolaConfig.model_validate({**TINY.model_dump(), **VARIANTS[name]})


@pytest.fixture(params=VARIANTS)
def config(request):
    return variant(request.param)


def test_every_variant_acts_and_repeats_itself_given_its_noise(config, seen, video_noise):
    model = build_mola(config).eval()
    observation = seen(config)
    noise = None if model.backbone is None else video_noise(model)
    action_noise = torch.randn(2, config.horizon, config.action_size)

    with torch.no_grad():
        first = model.act(observation, video_noise=noise, action_noise=action_noise)
        again = model.act(observation, video_noise=noise, action_noise=action_noise)

    assert first.shape == (2, config.horizon, config.action_size)
    assert torch.isfinite(first).all()
    assert torch.equal(first, again)


def test_the_policy_loss_reaches_every_weight_of_stage_three(config, seen, video_noise):
    model = build_mola(config)
    for parameter in model.head.parameters():  # gates that start at zero would hide what lies behind them
        parameter.data += 0.02 * torch.randn_like(parameter)
    observation = seen(config)
    imagination = None
    if model.backbone is not None:
        model.backbone.eval().requires_grad_(False)
        imagination = model.imagine(
            observation.images,
            instruction=observation.instruction,
            noise=video_noise(model),
            features_only=not model.needs_latents,
        )

    losses = model.losses_of(
        model.condition(observation, imagination=imagination),
        actions=torch.randn(2, config.horizon, config.action_size),
        mask=torch.ones(2, config.horizon, dtype=torch.bool),
        draws=drawn(2),
    )
    torch.stack(list(losses.values())).sum().backward()

    deaf = {
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and (parameter.grad is None or not parameter.grad.abs().sum() > 0)
    }
    assert deaf == set()


def test_a_configuration_survives_json(config):
    assert MolaConfig.model_validate_json(config.model_dump_json()) == config


def test_rows_beyond_the_episode_do_not_count(tiny, seen, video_noise):
    causal = tiny.head.model_copy(update={"dit": DIT.model_copy(update={"causal": True})})
    model = build_mola(tiny.model_copy(update={"head": causal})).eval()
    observation = seen(tiny)
    imagination = model.imagine(observation.images, instruction=observation.instruction, noise=video_noise(model))
    conditioned = model.condition(observation, imagination=imagination)
    actions = torch.randn(2, 5, 3)
    mask = torch.tensor([[True, True, True, False, False]] * 2)

    def loss(rows):
        return model.losses_of(conditioned, actions=rows, mask=mask, draws=drawn(2))["action"]

    changed = actions.clone()
    changed[:, 4] += 5.0  # of the last row, which no earlier one sees here
    assert torch.equal(loss(actions), loss(changed))
    changed[:, 0] += 5.0
    assert not torch.equal(loss(actions), loss(changed))


@pytest.mark.parametrize("control", ["same", "noisy"])
def test_controls_change_the_latent_actions_and_nothing_else(control, tiny, seen, video_noise):
    model = build_mola(tiny).eval()
    observation = seen(tiny)
    imagination = model.imagine(observation.images, instruction=observation.instruction, noise=video_noise(model))

    noise = torch.randn(2, 2, *model.backbone.feature_shape) if control == "noisy" else None

    imagined = model.condition(observation, imagination=imagination)
    replaced = model.condition(observation, imagination=imagination, control=control, control_noise=noise)

    assert torch.equal(imagined.head.visual, replaced.head.visual)
    now = model.transition(observation.images, imagination=imagination).now
    transition = model.transition(observation.images, imagination=imagination, control=control, control_noise=noise)
    assert torch.equal(transition.now, now)
    assert not torch.equal(transition.future, model.transition(observation.images, imagination=imagination).future)


def test_pretraining_draws_each_members_modalities_and_learns_all_of_it(tiny, seen, video_noise):
    model = build_mola(tiny)
    pretraining = build_pretraining(model)
    observation = seen(tiny)
    with torch.no_grad():
        imagination = model.imagine(observation.images, instruction=observation.instruction, noise=video_noise(model))
    future = torch.rand(2, 2, 3, 32, 48)
    labels = {
        "semantic": torch.randint(0, 16, (2, 2, 32, 48)),
        "depth": torch.rand(2, 2, 1, 32, 48),
        "flow": torch.rand(2, 2, 2, 32, 48),
    }

    losses = pretraining.losses(
        model.transition(observation.images, imagination=imagination),
        future=future,
        labels=labels,
        mask=torch.tensor([True, False]),
    )
    pictures = pretraining.pictures(model.transition(observation.images, imagination=imagination))

    assert {name: set(terms) for name, terms in losses.items()} == {
        name: {"rgb", name, "commitment"} for name in ("semantic", "depth", "flow")
    }
    assert pictures["semantic"]["semantic"].shape == (2, 2, 16, 32, 48)
    assert pictures["flow"]["rgb"].shape == (2, 2, 3, 32, 48)
    sum(term for terms in losses.values() for term in terms.values()).backward()
    assert all(parameter.grad is not None for parameter in pretraining.parameters())


def test_parts_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="without a backbone"):
        MolaConfig.model_validate({**TINY.model_dump(), "backbone": None})
    with pytest.raises(ValueError, match="reads tokens of 16, language gives 20"):
        MolaConfig.model_validate(
            {**TINY.model_dump(), "language": TINY.language.model_copy(update={"token_width": 20})}
        )
    with pytest.raises(ValueError, match="no decoder for \\['heat'\\]"):
        MixtureConfig(members=(MemberConfig(name="heat", targets=("heat",)),))


def test_the_noisy_control_asks_for_its_noise(tiny, seen, video_noise):
    model = build_mola(tiny).eval()
    observation = seen(tiny)
    with pytest.raises(ValueError, match="control_noise is missing"), torch.no_grad():
        model.act(observation, video_noise=video_noise(model), action_noise=torch.randn(2, 5, 3), control="noisy")
