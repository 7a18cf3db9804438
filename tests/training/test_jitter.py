"""Other light for pictures: what it keeps, what it changes, and how often."""

import torch

from mola_core.training.draws import Draws
from mola_core.training.jitter import jittered
from mola_core.training.recipe import PictureJitter


def drawn(batch: int) -> Draws:
    return Draws(seed=3, places=range(batch), device=torch.device("cpu"))


def ramp(batch: int) -> torch.Tensor:
    """Two frames of grey from black to white."""
    return torch.linspace(-1.0, 1.0, 9).expand(batch, 2, 3, 4, 9).contiguous()


ONLY_LIGHT = PictureJitter(light=0.5, gain=0.0, colour=0.0, offset=0.0)


def test_light_is_a_factor_on_brightness() -> None:
    before = ramp(200)
    after = jittered(before, ONLY_LIGHT, drawn(200))
    torch.testing.assert_close(after[..., 0], before[..., 0])  # black
    factor = (after[..., 1] + 1.0) / (before[..., 1] + 1.0)  # dark enough for all to stay in range
    torch.testing.assert_close(factor, factor[:, :1, :1, :1].expand_as(factor))  # one light an item
    assert 0.4 < float(factor[:, 0, 0, 0].log().std()) < 0.6
    assert float(after.max()) == 1.0  # too bright saturates
    assert float(after.min()) == -1.0


def test_a_share_of_the_pictures_is_changed() -> None:
    before = ramp(400)
    after = jittered(before, ONLY_LIGHT.model_copy(update={"share": 0.25}), drawn(400))
    changed = (after != before).flatten(1).any(dim=1)
    assert 70 <= int(changed.sum()) <= 130
    assert jittered(before, None, drawn(400)) is before
