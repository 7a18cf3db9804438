"""A stage that costs nothing: a small network that learns a linear map, with numbered samples."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mola_core.training.checkpoint import Checkpoint
from mola_core.training.distributed import World
from mola_core.training.loop import Surroundings
from mola_core.training.order import Share
from mola_core.training.progress import SilentReporter
from mola_core.training.recipe import CosineSchedule, OptimizerSpec, StageSpec
from mola_core.training.recipes import recipe_named
from mola_core.training.stage import Batch, Stage
from mola_core.training.stopping import StopRequest

ONE = World(rank=0, size=1, device=torch.device("cpu"))


class LineSource:
    """Sample i is drawn from a generator of its own."""

    resident = False

    def __init__(self, size: int = 64, *, bad: int | None = None) -> None:
        self._size = size
        self._bad = bad

    def __len__(self) -> int:
        return self._size

    def batch(self, indices) -> Batch:
        rows = np.stack([np.random.default_rng(int(index)).normal(size=4) for index in indices]).astype(np.float32)
        if self._bad is not None:
            rows[np.asarray(indices) == self._bad] = np.nan
        x = torch.from_numpy(rows)
        return {"x": x, "y": x.sum(dim=1, keepdim=True), "index": torch.as_tensor(np.asarray(indices))}


class Line(nn.Module):
    """``model`` is what is kept; ``helper`` stands for a decoder that is not."""

    def __init__(self, *, dropout: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.model = nn.ModuleDict({"body": nn.Linear(4, 8), "frozen": nn.Linear(4, 8), "head": nn.Linear(8, 1)})
        self.helper = nn.Dropout(dropout)
        self.seen: list[int] = []

    def forward(self, batch: Batch, draws, whole) -> dict[str, torch.Tensor]:
        self.seen += batch["index"].tolist()
        x = batch["x"] + 0.1 * draws.normal("noise", (4,))
        hidden = torch.tanh(self.model["body"](x) + self.model["frozen"](x))
        error = (self.model["head"](self.helper(hidden)) - batch["y"]).square().mean()
        return {"loss": error, "twice": 2 * error.detach()}


def stage_spec(**changes) -> StageSpec:
    values = {
        "steps": 12,
        "batch_size": 8,
        "optimizer": OptimizerSpec(learning_rate=0.02, weight_decay=0.01),
        "schedule": CosineSchedule(warmup_steps=2),
        "precision": "fp32",
        "ema_decay": 0.9,
        "log_every": 1,
        "save_every": 5,
        "validate_every": 4,
    }
    return StageSpec(**{**values, **changes})


def line_stage(*, spec: StageSpec | None = None, objective: nn.Module | None = None, source=None, **fields) -> Stage:
    source = source or LineSource()
    return Stage(
        name="line",
        spec=spec or stage_spec(),
        objective=objective or Line(),
        frozen=("model.frozen",),
        training=source,
        shares=(Share(first=0, size=len(source), weight=1.0),),
        validation=LineSource(16),
        **fields,
    )


def surroundings(
    folder: Path, *, world: World = ONE, stop: StopRequest | None = None, recipe: str = "twin-tiny", seed: int = 3
) -> Surroundings:
    header = Checkpoint(
        path=folder, recipe=recipe_named(recipe), normalization=None, stage="", step=0, metrics={}, git={}
    )
    return Surroundings(
        folder=folder,
        header=header,
        seed=seed,
        world=world,
        reporter=SilentReporter(),
        stop=stop or StopRequest(),
    )


class StopAfter(StopRequest):
    """Asks for a stop once it has been looked at ``times`` times: once a step."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self._left = times

    @property
    def requested(self) -> bool:
        self._left -= 1
        return self._left <= 0


Factory = Callable[..., Stage]
