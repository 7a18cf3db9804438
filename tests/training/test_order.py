import numpy as np
import pytest
import torch

from mola_core.training.averaging import AveragedWeights, decay_at
from mola_core.training.draws import Draws
from mola_core.training.order import Parts, SampleOrder, Share

CPU = torch.device("cpu")


def test_each_round_shows_every_sample_once_in_a_new_order() -> None:
    order = SampleOrder([Share(first=0, size=10, weight=1.0)], batch_size=4, seed=1)
    shown = np.concatenate([order.batch(step) for step in range(5)])
    assert sorted(shown[:10]) == sorted(shown[10:]) == list(range(10))
    assert list(shown[:10]) != list(shown[10:])


def test_a_step_says_the_same_whatever_was_asked_before() -> None:
    shares = [Share(first=0, size=7, weight=1.0), Share(first=7, size=20, weight=3.0)]
    fresh = SampleOrder(shares, batch_size=6, seed=5).batch(9)
    used = SampleOrder(shares, batch_size=6, seed=5)
    for step in (3, 0, 11):
        used.batch(step)
    assert list(used.batch(9)) == list(fresh)


def test_shares_follow_their_weights_and_never_repeat_before_all_were_shown() -> None:
    shares = [Share(first=0, size=50, weight=1.0), Share(first=50, size=200, weight=3.0)]
    order = SampleOrder(shares, batch_size=8, seed=2)
    shown = np.concatenate([order.batch(step) for step in range(25)])  # 200 samples: 50 and 150
    small, large = shown[shown < 50], shown[shown >= 50]
    assert len(small) == pytest.approx(50, abs=2)
    assert len(np.unique(large)) == len(large)
    assert len(np.unique(small)) >= 48


def test_an_empty_share_is_refused() -> None:
    with pytest.raises(ValueError, match="every share needs samples"):
        SampleOrder([Share(first=0, size=0, weight=1.0)], batch_size=2, seed=0)


def test_parts_cover_the_batch_once() -> None:
    parts = Parts(batch_size=24, world_size=3, accumulate=2)
    places = [place for rank in range(3) for part in parts.places(rank=rank) for place in part]
    assert sorted(places) == list(range(24))


def test_a_sample_draws_the_same_numbers_wherever_it_stands() -> None:
    whole = Draws(seed=4, places=range(6), device=CPU)
    half = Draws(seed=4, places=range(3, 6), device=CPU)
    assert torch.equal(whole.normal("noise", (2, 3))[3:], half.normal("noise", (2, 3)))
    assert not torch.equal(whole.normal("noise", (2,)), whole.normal("other", (2,)))
    assert not torch.equal(whole.uniform("u"), Draws(seed=5, places=range(6), device=CPU).uniform("u"))
    drawn = Draws(seed=0, places=range(4000), device=CPU)
    assert float(drawn.normal("n", ()).std()) == pytest.approx(1.0, abs=0.05)
    assert float(drawn.chance("c", 0.25).float().mean()) == pytest.approx(0.25, abs=0.03)


def test_averages_follow_their_closed_form_and_stand_in_for_the_weights() -> None:
    parameter = torch.nn.Parameter(torch.zeros(3))
    averages = AveragedWeights({"p": parameter}, decay=0.5)
    expected = torch.zeros(3)
    for step in range(5):
        with torch.no_grad():
            parameter += 1.0
        averages.update(step=step)
        decay = decay_at(step, decay=0.5)
        expected = decay * expected + (1 - decay) * parameter.detach()
    with averages.in_use():
        assert torch.allclose(parameter, expected)
    assert torch.equal(parameter, torch.full((3,), 5.0))
