"""Stage I, first part of the small backbone: its autoencoder, on single pictures."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from mola_core.data.sample import SampleSource
from mola_core.data.windows import Split
from mola_core.nets.mola import Mola
from mola_core.nets.small_video import SmallVideo
from mola_core.training.datasets import joined_or_none, mixed, one_picture
from mola_core.training.draws import Draws
from mola_core.training.jitter import jittered
from mola_core.training.naming import all_but
from mola_core.training.recipe import AutoencoderStage
from mola_core.training.samples import side_by_side, spaced
from mola_core.training.stage import Batch, Learner, Pictures, Stage
from mola_core.training.tensors import as_frames, as_pictures
from mola_core.training.whole import Whole
from mola_core.training.workbench import Workbench

_SHOWN = 8


class SinglePictures:
    """Every picture of every camera; a ``BatchSource``."""

    resident = False

    def __init__(self, source: SampleSource, *, cameras: tuple[int, ...]) -> None:
        self._source, self._cameras = source, cameras

    def __len__(self) -> int:
        return len(self._source) * len(self._cameras)

    def batch(self, indices: Sequence[int] | Int[np.ndarray, "B"]) -> Batch:
        number, which = np.divmod(np.asarray(indices), len(self._cameras))
        frames = self._source.batch(number).frames  # B C 1 H W 3
        camera = np.array(self._cameras)[which]
        return {"picture": torch.from_numpy(frames[np.arange(len(number)), camera, 0])}


class AutoencoderObjective(nn.Module):
    """Pictures back as they were: squared and absolute error alike, so that neither a blur nor a small thing's colour is cheap."""

    def __init__(self, model: Mola, spec: AutoencoderStage) -> None:
        super().__init__()
        self.model = model
        self._spec = spec

    def forward(self, batch: Batch, draws: Draws, _whole: Whole) -> dict[str, Tensor]:
        pictures = as_pictures(batch["picture"])  # B 3 H W
        pictures = jittered(pictures, self._spec.jitter if self.training else None, draws)
        difference = self.rebuilt(pictures, draws=draws if self.training else None) - pictures
        squared, absolute = difference.square().mean(), difference.abs().mean()
        return {"loss": squared + absolute, "squared": squared, "absolute": absolute}

    def rebuilt(self, pictures: Tensor, *, draws: Draws | None = None) -> Tensor:
        """What the autoencoder makes of B 3 H W; with ``draws``, of noisy latents."""
        backbone = self.model.backbone
        if not isinstance(backbone, SmallVideo):
            raise TypeError(f"{type(backbone).__name__} has no autoencoder to train")
        out: Tensor = backbone.autoencoder(pictures, draws=draws)
        return out


def autoencoder_learner(spec: AutoencoderStage, model: Mola) -> Learner[AutoencoderObjective]:
    """Trains ``model.backbone.autoencoder`` alone."""
    objective = AutoencoderObjective(model, spec)
    return Learner(objective, frozen=all_but(objective, ["model.backbone.autoencoder"]))


def autoencoder_stage(spec: AutoencoderStage, bench: Workbench) -> Stage:
    """:func:`autoencoder_learner` on every picture of every camera."""
    learner = autoencoder_learner(spec, bench.model)
    objective = learner.objective

    def sources(split: Split) -> list[SinglePictures]:
        window = one_picture(bench.recipe.io)
        return [SinglePictures(part.open(window, split), cameras=part.cameras) for part in bench.parts]

    training, shares = mixed(sources("train"), [part.weight for part in bench.parts])
    validation = joined_or_none(sources("validation"))
    shown = validation or training

    def pictures() -> Pictures:
        frames = shown.batch(spaced(len(shown), _SHOWN))["picture"]
        device = next(objective.parameters()).device
        rebuilt = as_frames(objective.rebuilt(as_pictures(frames.to(device))))
        return {"rebuilt": side_by_side(rows={"true": frames.numpy(), "rebuilt": rebuilt})}

    return Stage(
        name="autoencoder",
        spec=spec,
        objective=objective,
        frozen=learner.frozen,
        training=training,
        shares=shares,
        validation=validation,
        pictures=pictures,
    )
