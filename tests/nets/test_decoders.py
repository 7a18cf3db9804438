"""Stage II's losses of pictures: what nobody knows is not learned."""

import pytest
import torch

from mola_core.nets.config import ModalityConfig
from mola_core.nets.decoders import modality_loss

ITEMS, CAMERAS, HEIGHT, WIDTH = 3, 2, 4, 5


def a_case(config: ModalityConfig) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(predicted, target, known); a third of the cells is known."""
    generator = torch.Generator().manual_seed(0)
    shape = (ITEMS, CAMERAS, config.channels, HEIGHT, WIDTH)
    predicted = torch.randn(*shape, generator=generator)
    classes = torch.randint(config.channels, (ITEMS, CAMERAS, HEIGHT, WIDTH), generator=generator)
    target = classes if config.loss == "classes" else torch.randn(*shape, generator=generator)
    known = torch.rand(ITEMS, CAMERAS, HEIGHT, WIDTH, generator=generator) < 0.3
    return predicted, target, known


def spoiled(values: torch.Tensor, known: torch.Tensor, *, by: float) -> torch.Tensor:
    """``values`` with others where they are not known."""
    where = known if values.ndim == known.ndim else known[:, :, None]
    return torch.where(where, values, torch.full_like(values, by))


@pytest.mark.parametrize(
    "config",
    [
        ModalityConfig(loss="l1", channels=1),
        ModalityConfig(loss="l1", channels=2),
        ModalityConfig(loss="l2", channels=6),
        ModalityConfig(loss="classes", channels=4),
    ],
    ids=["depth", "flow", "features", "classes"],
)
def test_unknown_cells_change_neither_loss_nor_gradient(config: ModalityConfig) -> None:
    predicted, target, known = a_case(config)
    mask = torch.tensor([True, True, False])
    losses, gradients = [], []
    for wrong in (0, 3):
        drawn = predicted.clone().requires_grad_()
        loss = modality_loss(drawn, spoiled(target, known, by=wrong), config=config, mask=mask, known=known)
        loss.backward()
        losses.append(loss.detach())
        gradients.append(drawn.grad)
    assert torch.equal(losses[0], losses[1])
    assert torch.equal(gradients[0], gradients[1])
    where = known[:, :, None].expand_as(predicted)
    assert not gradients[0][~where].any()
    assert gradients[0][:2][where[:2]].any()
    assert not gradients[0][2].any(), "an item without a future"
    elsewhere = spoiled(predicted, known, by=9.0)
    assert torch.equal(modality_loss(elsewhere, target, config=config, mask=mask, known=known), losses[0])


def test_an_items_error_is_the_mean_over_what_is_known() -> None:
    config = ModalityConfig(loss="l1", channels=1)
    target = torch.zeros(1, 1, 1, 2, 2)
    predicted = torch.tensor([1.0, 2.0, 50.0, 50.0]).reshape(1, 1, 1, 2, 2)
    known = torch.tensor([True, True, False, False]).reshape(1, 1, 2, 2)
    mask = torch.ones(1, dtype=torch.bool)
    assert float(modality_loss(predicted, target, config=config, mask=mask, known=known)) == 1.5
    nothing = torch.zeros_like(known)
    assert float(modality_loss(predicted, target, config=config, mask=mask, known=nothing)) == 0.0


def test_all_known_is_as_if_nothing_were_said() -> None:
    for config in (ModalityConfig(loss="l1", channels=2), ModalityConfig(loss="classes", channels=4)):
        predicted, target, known = a_case(config)
        mask = torch.tensor([True, False, True])
        said = modality_loss(predicted, target, config=config, mask=mask, known=torch.ones_like(known))
        torch.testing.assert_close(said, modality_loss(predicted, target, config=config, mask=mask))
