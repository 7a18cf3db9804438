"""Action heads: each learns a distribution that a mean would miss, and repeats itself given its noise."""

import dataclasses

import pytest
import torch

from mola_core.nets.ar_head import ArHead
from mola_core.nets.config import ArHeadConfig, DdpmHeadConfig, EdmHeadConfig, FlowHeadConfig
from mola_core.nets.ddpm_head import DdpmHead, squared_cosine
from mola_core.nets.dit import HeadSizes
from mola_core.nets.edm_head import EdmHead
from mola_core.nets.flow_head import FlowHead, Prefix
from mola_core.nets.protocols import HeadCondition, Instruction
from tests.nets.conftest import DIT, drawn

SIZES = HeadSizes(
    action_size=1,
    horizon=4,
    state_size=2,
    pooled_width=3,
    token_width=5,
    num_words=2,
    visual_width=6,
    num_visual=3,
    latent_width=7,
    num_latents=2,
)
HEADS = {
    "flow": lambda: FlowHead(FlowHeadConfig(dit=DIT, steps=10), SIZES),
    "edm": lambda: EdmHead(EdmHeadConfig(dit=DIT), SIZES),
    "ddpm": lambda: DdpmHead(DdpmHeadConfig(dit=DIT), SIZES),
    "ar": lambda: ArHead(ArHeadConfig(dit=DIT, bins=16), SIZES),
}

SHOWN_PREFIXES = {"flow, shown prefixes": lambda: FlowHead(FlowHeadConfig(dit=DIT, steps=10, max_prefix=2), SIZES)}


def told(batch, signs=0.0):
    """A condition whose visual tokens say which way to go."""
    signs = torch.as_tensor(signs).float().expand(batch)
    return HeadCondition(
        latent_actions=torch.zeros(batch, 2, 7),
        visual=signs[:, None, None].expand(-1, 3, 6),
        instruction=Instruction(
            tokens=torch.zeros(batch, 2, 5), mask=torch.ones(batch, 2, dtype=torch.bool), pooled=torch.zeros(batch, 3)
        ),
        state=torch.zeros(batch, 2),
    )


def trained(head, *, steps, draw):
    head.train()
    optimizer = torch.optim.AdamW(head.parameters(), lr=3e-3)
    for step in range(steps):
        actions, condition = draw()
        mask = torch.ones(actions.shape[:2], dtype=torch.bool)
        loss = head.loss(actions, mask=mask, condition=condition, draws=drawn(len(actions), seed=step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return head.eval()


def two_ways(batch=48):
    """Whole chunks at +0.8 or −0.8, never between, and never mixed within one."""
    signs = torch.randint(0, 2, (batch, 1, 1)) * 2.0 - 1
    return 0.8 * signs.expand(-1, 4, 1) + 0.03 * torch.randn(batch, 4, 1), told(batch)


@pytest.fixture(scope="module")
def two_way_head():
    """``two_way_head(name)``: a head that has learned both ways, trained once for all tests."""
    made = {}

    def make(name):
        if name not in made:
            torch.manual_seed(7)
            made[name] = trained((HEADS | SHOWN_PREFIXES)[name](), steps=300, draw=two_ways)
        return made[name]

    return make


@pytest.mark.parametrize("name", HEADS)
def test_both_ways_are_learned_and_never_mixed(name, two_way_head):
    head = two_way_head(name)

    with torch.no_grad():
        chunks = head.sample(told(200), noise=torch.randn(200, 4, 1), steps=head.default_steps)[..., 0]  # 200 4

    signs = chunks.sign()
    assert ((chunks.abs() - 0.8).abs() < 0.25).float().mean() > 0.9
    assert (signs == signs[:, :1]).all(dim=1).float().mean() > 0.9
    assert 0.3 < (signs[:, 0] > 0).float().mean() < 0.7


@pytest.mark.parametrize("name", HEADS)
def test_what_is_told_decides(name):
    def draw(batch=32):
        signs = torch.randint(0, 2, (batch,)) * 2.0 - 1
        return (0.8 * signs)[:, None, None].expand(-1, 4, 1), told(batch, signs)

    head = trained(HEADS[name](), steps=100, draw=draw)

    with torch.no_grad():
        ahead, back = (
            head.sample(told(50, sign), noise=torch.randn(50, 4, 1), steps=head.default_steps) for sign in (1, -1)
        )
    assert (ahead > 0.4).float().mean() > 0.95
    assert (back < -0.4).float().mean() > 0.95


@pytest.mark.parametrize("name", HEADS)
def test_the_same_noise_gives_the_same_chunk(name):
    head = HEADS[name]().eval()
    noise = torch.randn(3, 4, 1)
    with torch.no_grad():
        first = head.sample(told(3), noise=noise, steps=3)
        again = head.sample(told(3), noise=noise, steps=3)
    assert torch.equal(first, again)


@pytest.mark.parametrize("name", HEADS)
def test_a_sample_counts_by_its_weight(name):
    torch.manual_seed(0)
    head = HEADS[name]()
    actions, condition = two_ways(batch=4)
    mask = torch.ones(actions.shape[:2], dtype=torch.bool)

    def loss(weight):
        return head.loss(actions, mask=mask, condition=condition, draws=drawn(4), weight=weight)

    parts = [loss(4.0 * torch.eye(4)[sample]) for sample in range(4)]
    assert not torch.isclose(parts[0], parts[1])
    torch.testing.assert_close(loss(None), torch.stack(parts).mean())
    torch.testing.assert_close(loss(torch.ones(4)), loss(None))
    torch.testing.assert_close(loss(torch.tensor([4.0, 0.0, 0.0, 0.0])), parts[0])


WITHHELD = DIT.model_copy(update={"state_dropout": 0.5})
SHARED = {
    "flow": lambda: FlowHead(FlowHeadConfig(dit=WITHHELD, draws=3, max_prefix=3), SIZES),
    "edm": lambda: EdmHead(EdmHeadConfig(dit=WITHHELD), SIZES),
    "ddpm": lambda: DdpmHead(DdpmHeadConfig(dit=WITHHELD), SIZES),
    "ar": lambda: ArHead(ArHeadConfig(dit=WITHHELD, bins=16), SIZES),
}


@pytest.mark.parametrize("name", SHARED)
def test_parts_of_a_batch_average_to_the_loss_of_the_whole(name):
    """However unevenly their rows are real, and whoever's state is withheld."""
    head = SHARED[name]().train()
    for parameter in head.parameters():  # gates that start at zero would hide what lies behind them
        parameter.data += 0.1 * torch.randn_like(parameter)
    actions = 0.5 * torch.randn(6, 4, 1)
    mask = torch.arange(4)[None] < torch.tensor([4, 4, 4, 1, 2, 1])[:, None]

    def loss(items, **count):
        condition = dataclasses.replace(told(len(items)), state=torch.ones(len(items), 2))
        draws = drawn(len(items), first=items.start)
        rows = slice(items.start, items.stop)
        taught = head.counted(mask[rows], draws=draws)
        return head.loss(actions[rows], mask=mask[rows], condition=condition, draws=draws, **count), taught

    whole, taught = loss(range(6))
    halves = [loss(items, count=taught / 2) for items in (range(3), range(3, 6))]
    assert sum(count for _, count in halves) == taught
    torch.testing.assert_close((halves[0][0] + halves[1][0]) / 2, whole)
    alone = [loss(items)[0] for items in (range(3), range(3, 6))]
    assert not torch.isclose((alone[0] + alone[1]) / 2, whole)  # the mean of means is another


def test_a_chunk_continues_its_settled_rows(two_way_head):
    head = two_way_head("flow, shown prefixes")
    settled = torch.tensor([[True, True, False, False]]).expand(100, -1)
    signs = torch.where(torch.arange(100) < 50, 0.8, -0.8)
    prefix = Prefix(actions=signs[:, None, None].expand(-1, 4, 1), settled=settled)

    with torch.no_grad():
        chunks = head.sample(told(100), noise=torch.randn(100, 4, 1), steps=10, prefix=prefix)[..., 0]

    assert torch.equal(chunks[:, :2], prefix.actions[:, :2, 0])
    follows = (chunks[:, 2:].sign() == signs[:, None].sign()).all(dim=1).float().mean()
    assert follows > 0.95
    with pytest.raises(ValueError, match="shown no settled rows in training"):
        two_way_head("flow").sample(told(100), noise=torch.randn(100, 4, 1), steps=10, prefix=prefix)


def test_noise_is_taken_away_as_by_the_published_schedulers():
    """Ten strides over a hundred levels, beside diffusers' own DDIM with its guesses cut as ours are."""
    from diffusers import DDIMScheduler  # noqa: PLC0415  # seconds to import

    theirs = DDIMScheduler(
        num_train_timesteps=100,
        beta_schedule="squaredcos_cap_v2",
        clip_sample=True,
        clip_sample_range=1.5,
        timestep_spacing="trailing",
    )
    torch.testing.assert_close(torch.tensor(squared_cosine(100)), theirs.alphas_cumprod, rtol=1e-4, atol=1e-9)
    head, noise = HEADS["ddpm"]().eval(), torch.randn(3, 4, 1)
    theirs.set_timesteps(10)
    with torch.no_grad():
        context = head.transformer.context(told(3))
        actions = noise
        for level in theirs.timesteps:
            time = (1000 / 99 * level).expand(3, 1).float()
            found = head.transformer(actions, time=time, context=context)
            actions = theirs.step(found, level, actions, use_clipped_model_output=True).prev_sample
        mine = head.sample(told(3), noise=noise, steps=10)
    torch.testing.assert_close(mine, actions, rtol=1e-3, atol=1e-4)


def test_action_bins_cover_their_span():
    head = HEADS["ar"]()
    actions = torch.linspace(-1.49, 1.49, 101)
    assert (head.centres_of(head.bins_of(actions)) - actions).abs().max() <= 1.5 / 16 + 1e-6
    assert head.bins_of(torch.tensor([-9.0, 9.0])).tolist() == [0, 15]


def test_a_head_built_with_a_state_refuses_none():
    condition = HeadCondition(**{**vars(told(1)), "state": None})
    with pytest.raises(ValueError, match="built with a state"):
        HEADS["flow"]().sample(condition, noise=torch.randn(1, 4, 1), steps=1)


def test_several_draws_for_a_condition_steady_the_loss_and_leave_its_mean():
    torch.manual_seed(0)
    actions, mask = torch.randn(4, 4, 1), torch.ones(4, 4, dtype=torch.bool)
    one = FlowHead(FlowHeadConfig(dit=DIT), SIZES).eval()
    eight = FlowHead(FlowHeadConfig(dit=DIT, draws=8), SIZES).eval()
    eight.load_state_dict(one.state_dict())
    with torch.no_grad():
        losses = [
            torch.stack(
                [head.loss(actions, mask=mask, condition=told(4), draws=drawn(4, seed=step)) for step in range(200)]
            )
            for head in (one, eight)
        ]
    assert losses[1].std() < 0.6 * losses[0].std()
    assert abs(losses[1].mean() - losses[0].mean()) < 4 * losses[0].std() / 200**0.5
