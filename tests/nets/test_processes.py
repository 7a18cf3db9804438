"""What a network sees of the batch is what all processes have of it."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from mola_core.nets.batch_standard import BatchStandard1d, BatchStandard2d
from mola_core.nets.codebook import Codebook
from mola_core.nets.config import CodebookConfig
from mola_core.nets.processes import as_first_has_it, joined, total
from mola_core.training.distributed import World
from tests.training.two_processes import in_two_processes

NORMS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "1d": (lambda: BatchStandard1d(3, eps=1e-8), (6, 3)),
    "2d": (lambda: BatchStandard2d(3, momentum=0.01), (6, 3, 4, 2)),
}


def half(whole: torch.Tensor, world: World) -> torch.Tensor:
    return whole.chunk(world.size)[world.rank]


@pytest.mark.parametrize("name", NORMS)
def test_numbers_are_standardised_over_the_batch_of_all_processes(name: str) -> None:
    build, shape = NORMS[name]
    x = 5.0 + torch.randn(shape, dtype=torch.float64) * torch.arange(1, shape[0] + 1).reshape(
        -1, *[1] * (len(shape) - 1)
    )
    slope = torch.randn(shape, dtype=torch.float64)

    def standardised(norm: nn.Module, x: torch.Tensor, slope: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What comes out, and the gradient of a loss on it."""
        x = x.clone().requires_grad_()
        out = norm.double().train()(x)
        (out * slope).sum().backward()
        return out.detach(), x.grad

    alone = build()
    out, gradient = standardised(alone, x, slope)

    def work(world: World) -> None:
        norm = build()
        mine, pulled = standardised(norm, half(x, world), half(slope, world))
        torch.testing.assert_close(mine, half(out, world))
        torch.testing.assert_close(pulled, half(gradient, world))
        for name, value in alone.state_dict().items():
            torch.testing.assert_close(norm.state_dict()[name], value, msg=name)
        norm.eval()
        torch.testing.assert_close(norm(x), alone.eval()(x))

    assert in_two_processes(work) == [0, 0]


@pytest.mark.parametrize("name", NORMS)
def test_one_process_standardises_as_torch_does(name: str) -> None:
    build, shape = NORMS[name]
    norm = build()
    theirs = type(norm).__mro__[1](3, eps=norm.eps, momentum=norm.momentum, affine=False)
    x = torch.randn(shape)
    assert torch.equal(norm(x), theirs(x))
    assert {name: value.tolist() for name, value in norm.state_dict().items()} == {
        name: value.tolist() for name, value in theirs.state_dict().items()
    }


def test_codes_are_laid_out_and_revived_from_the_vectors_of_all_processes() -> None:
    config = CodebookConfig(size=16, width=4, usage_decay=0.5, dead_below=0.2)
    batches = torch.randn(6, 8, 2, 4)
    batches[3:] += 4.0  # where no code is yet

    def learned(world: World | None) -> Codebook:
        codebook = Codebook(config).train()
        for step, batch in enumerate(batches):
            torch.manual_seed(step + (0 if world is None else 1000 * world.rank))  # as the loop seeds each process
            codebook(batch if world is None else half(batch, world))
        return codebook

    alone = learned(None)
    assert (alone.codes[:, 0] > 2.0).any()  # some have been put there

    def work(world: World) -> None:
        for name, value in learned(world).state_dict().items():
            torch.testing.assert_close(value, alone.state_dict()[name], msg=name)

    assert in_two_processes(work) == [0, 0]


def test_processes_tell_each_other_what_they_have() -> None:
    def work(world: World) -> None:
        mine = torch.full((2,), 1.0 + world.rank, requires_grad=True)
        summed = total(mine)
        assert summed.tolist() == [3.0, 3.0]
        (summed * (1.0 + world.rank)).sum().backward()  # both losses hang on it
        assert mine.grad.tolist() == [3.0, 3.0]
        assert joined(mine).tolist() == [1.0, 1.0, 2.0, 2.0]
        assert as_first_has_it(mine.detach()).tolist() == [1.0, 1.0]

    assert in_two_processes(work) == [0, 0]
