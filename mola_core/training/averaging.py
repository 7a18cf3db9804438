"""An exponential moving average of the trained weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def decay_at(step: int, *, decay: float) -> float:
    """Decay of step ``step``: smaller in the beginning, so that the first weights are soon forgotten."""
    return min(decay, (1.0 + step) / (10.0 + step))


class AveragedWeights:
    """Averages of named parameters, beside them on their device."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], *, decay: float) -> None:
        self._parameters = dict(parameters)
        self._decay = decay
        self._averages = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}

    @torch.no_grad()
    def update(self, *, step: int) -> None:
        """Take in the weights that step ``step`` has left."""
        share = 1.0 - decay_at(step, decay=self._decay)
        for name, average in self._averages.items():
            average.lerp_(self._parameters[name].detach(), share)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """The parameters hold the averages inside, and what they held before afterwards."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, average in self._averages.items():
            parameter = self._parameters[name]
            held = parameter.detach().clone()
            parameter.copy_(average)
            average.copy_(held)

    @torch.no_grad()
    def restore(self, averages: Mapping[str, Tensor]) -> None:
        """Go on from ``averages`` by the same names."""
        for name, average in self._averages.items():
            average.copy_(averages[name])
