"""Everything of a running stage that changes: gathered for a checkpoint, and put back."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mola_core.training.averaging import AveragedWeights
from mola_core.training.checkpoint import CheckpointError, ResumableState, put_weights
from mola_core.training.distributed import gathered, spread_like
from mola_core.training.stage import trained_parameters


@dataclass(frozen=True)
class RunningState:
    """The moving parts of one stage in one process."""

    objective: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    averages: AveragedWeights | None

    def weights(self) -> dict[str, Tensor]:
        """All weights of the objective, averaged ones where there are; whole, on the CPU. All processes must ask."""
        if self.averages is None:
            return {name: gathered(value).clone() for name, value in self.objective.state_dict().items()}
        with self.averages.in_use():
            return {name: gathered(value).clone() for name, value in self.objective.state_dict().items()}

    def resumable(self, numbers: dict[str, Any]) -> ResumableState:
        """Raw weights and optimizer state, with ``numbers`` of the loop's own."""
        tensors: dict[str, Tensor] = {}
        for name, parameter in trained_parameters(self.objective).items():
            tensors[f"weights/{name}"] = gathered(parameter).clone()
            for field, value in self.optimizer.state[parameter].items():
                tensors[f"optimizer/{name}/{field}"] = gathered(value).clone()
        return ResumableState(tensors=tensors, numbers={**numbers, "scaler": self.scaler.state_dict()})

    def restore(self, weights: dict[str, Tensor], resumable: ResumableState, *, where: str) -> None:
        """Go on from a checkpoint's two parts.

        Raises:
            CheckpointError: they are another architecture's, or lack a tensor.
        """
        placed = self._placed(weights)
        put_weights(self.objective, placed, where=where)
        if self.averages is not None:
            self.averages.restore(placed)
        try:
            for name, parameter in trained_parameters(self.objective).items():
                with torch.no_grad():
                    parameter.copy_(spread_like(resumable.tensors[f"weights/{name}"], parameter))
                self.optimizer.state[parameter] = _optimizer_state(resumable, name, parameter)
        except KeyError as error:
            raise CheckpointError(f"{where} has no tensor {error}; resume from another step-… folder") from error
        self.scaler.load_state_dict(resumable.numbers["scaler"])

    def _placed(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        own = self.objective.state_dict()
        return {name: spread_like(value, own[name]) if name in own else value for name, value in weights.items()}


def _optimizer_state(resumable: ResumableState, name: str, parameter: nn.Parameter) -> dict[str, Tensor]:
    prefix = f"optimizer/{name}/"
    fields = {key.removeprefix(prefix): value for key, value in resumable.tensors.items() if key.startswith(prefix)}
    return {
        field: spread_like(value, parameter.detach()) if value.shape == parameter.shape else value
        for field, value in fields.items()
    }
