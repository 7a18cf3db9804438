"""What a stage hands to the loop: an objective, what of it stays frozen, and batches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import numpy as np
from jaxtyping import Int, UInt8
from torch import Tensor, nn

from mola_core.training.draws import Draws
from mola_core.training.order import Share
from mola_core.training.recipe import StageSpec
from mola_core.training.whole import Whole

Batch = dict[str, Tensor]
"""Tensors with the samples along their first axis; their names are the stage's own business."""
Pictures = dict[str, UInt8[np.ndarray, "height width 3"]]
Trained_co = TypeVar("Trained_co", bound=nn.Module, covariant=True)


class Objective(Protocol):
    """An ``nn.Module`` that computes the losses of a batch: ``loss`` is what is minimised, the rest is for people.

    ``whole`` holds the stage's ``sums`` over the whole batch of the step, of which ``batch`` is a part; losses averaged over the parts
    are those of the whole.
    """

    def __call__(self, batch: Batch, draws: Draws, whole: Whole) -> dict[str, Tensor]: ...


class BatchSource(Protocol):
    """Samples by number, ready for the objective."""

    def __len__(self) -> int: ...

    @property
    def resident(self) -> bool:
        """Whether batches are on the GPU from the beginning; they are then made in the training process alone."""
        ...

    def batch(self, indices: Sequence[int] | Int[np.ndarray, "B"]) -> Batch:
        """Those samples, on the CPU unless resident; the same indices always give the same batch. Used from several threads."""
        ...


def no_pictures() -> Pictures:
    """For a stage that has nothing to show."""
    return {}


def no_sums(_batch: Batch, _draws: Draws) -> dict[str, Tensor]:
    """For a stage whose losses are plain means over all samples."""
    return {}


@dataclass(frozen=True)
class Learner(Generic[Trained_co]):
    """What a stage trains, before it has seen any data: enough to refuse settings and to count memory."""

    objective: Trained_co
    """See :class:`Stage`."""
    frozen: tuple[str, ...]
    """See :class:`Stage`."""


@dataclass(frozen=True)
class Stage:
    """One stage of training."""

    name: str
    """``autoencoder``, ``video``, ``idm-depth`` …, ``policy``."""
    spec: StageSpec
    objective: nn.Module
    """An :class:`Objective`. Its attribute ``model`` is the whole model; what is only needed in training stands beside it."""
    frozen: tuple[str, ...]
    """Names of submodules and parameters of the objective that keep their weights and stay in evaluation mode."""
    training: BatchSource
    shares: tuple[Share, ...]
    """How ``training`` is mixed."""
    validation: BatchSource | None = None
    sums: Callable[[Batch, Draws], dict[str, Tensor]] = field(default=no_sums)
    """Asked of every part of a step before the objective sees the first one: what its losses divide by and weigh with, which must be
    known of the whole batch. From the batch, which may still be on the CPU, and the draws alone; on the device of the draws."""
    pictures: Callable[[], Pictures] = field(default=no_pictures)
    """Called now and then, without gradients, with the averaged weights in use."""

    def __post_init__(self) -> None:
        freeze(self.objective, self.frozen)


def freeze(objective: nn.Module, names: Sequence[str]) -> None:
    """Take the gradients from everything under ``names``, and give them to all the rest.

    Raises:
        ValueError: a name under which there is nothing.
    """
    known = {name for name, _ in objective.named_modules()} | {name for name, _ in objective.named_parameters()}
    missing = [name for name in names if name not in known]
    if missing:
        raise ValueError(f"nothing to freeze under {missing}")
    for name, parameter in objective.named_parameters():
        parameter.requires_grad_(not is_under(name, names))


def is_under(name: str, prefixes: Sequence[str]) -> bool:
    """Whether ``name`` is one of ``prefixes`` or inside one of them."""
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def set_training(objective: nn.Module, *, frozen: Sequence[str], training: bool) -> None:
    """Training or evaluation mode; what is frozen is always in evaluation mode."""
    objective.train(training)
    for name, module in objective.named_modules():
        if is_under(name, frozen):
            module.eval()


def trained_parameters(objective: nn.Module) -> dict[str, nn.Parameter]:
    """Those that have gradients, by name."""
    return {name: parameter for name, parameter in objective.named_parameters() if parameter.requires_grad}


def num_steps(stage: Stage) -> int:
    """Optimizer steps of the whole stage."""
    if stage.spec.steps is not None:
        return stage.spec.steps
    samples = sum(share.size for share in stage.shares)
    return max(1, round((stage.spec.epochs or 0.0) * samples / stage.spec.batch_size))


def whole_of(source: BatchSource) -> Share:
    """All of ``source``, without mixing."""
    return Share(first=0, size=len(source), weight=1.0)
