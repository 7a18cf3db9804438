"""Figures of a trained model, after the paper's 6 to 9: imagination, reconstructions, attention; and how codes are used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from jaxtyping import UInt8
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from mola_core.data.batch import Batch as Samples
from mola_core.data.sample import WindowSpec
from mola_core.nets.language import instruction_of
from mola_core.nets.mola import Imagination, Mola
from mola_core.nets.protocols import Instruction
from mola_core.training.attention_maps import attention_rows
from mola_core.training.checkpoint import Checkpoint, put_weights, read_weights
from mola_core.training.datasets import Part
from mola_core.training.draws import seed_of
from mola_core.training.frozen_video import backbone_of
from mola_core.training.idm_objective import IdmObjective
from mola_core.training.language import encoder_of
from mola_core.training.metrics import read_metrics
from mola_core.training.reconstructions import reconstruction_rows
from mola_core.training.samples import spaced
from mola_core.training.tensors import as_frames, as_pictures
from mola_core.training.transitions import Transitions, transition_window

Frames = Sequence[UInt8[np.ndarray, "height width 3"]] | UInt8[np.ndarray, "n height width 3"]
_INCH = 1.6


@dataclass(frozen=True)
class Gallery:
    """A model beside data that it never trained on."""

    model: Mola
    checkpoint: Checkpoint
    part: Part
    number: int
    """Samples shown."""
    language_weights: Path | None = None

    def samples(self) -> Samples:
        """Windows with the whole future, evenly spaced over the held-out episodes."""
        io = self.checkpoint.recipe.io
        window = WindowSpec(views=io.views, offsets=(0, *io.foresight_offsets), horizon=0)
        source = self.part.open(window, "validation")
        return source.batch(spaced(len(source), self.number))

    def instruction(self, samples: Samples) -> Instruction:
        """What they were told."""
        return instruction_of(encoder_of(self.checkpoint, weights=self.language_weights), samples.instructions)

    def imagination(self, samples: Samples, *, steps: int) -> Imagination:
        """Of the present of ``samples``, from noise that is always the same."""
        images, backbone = self.present(samples), backbone_of(self.model)
        noise = torch.randn(
            (*images.shape[:2], backbone.num_frames, *backbone.latent_shape),
            generator=torch.Generator().manual_seed(seed_of("plot")),
        )
        return self.model.imagine(
            images, instruction=self.instruction(samples), noise=noise, steps=steps, features_only=False
        )

    @staticmethod
    def present(samples: Samples) -> Tensor:
        """B C 3 H W."""
        return as_pictures(torch.from_numpy(samples.frames[:, :, 0]))


def imagined_figure(gallery: Gallery, *, steps: int) -> Figure:
    """True futures beside imagined ones, every camera (figures 6 and 7)."""
    samples = gallery.samples()
    imagined = as_frames(gallery.model.decoded(gallery.imagination(samples, steps=steps)))  # B C T H W 3
    rows: dict[str, Frames] = {}
    for number, sentence in enumerate(samples.instructions):
        for camera, view in enumerate(gallery.checkpoint.recipe.io.views):
            rows[f"{number}: {sentence}\n{view.camera}, true"] = samples.frames[number, camera]
            rows[f"{number}: {view.camera}, imagined"] = imagined[number, camera]
    offsets = (0, *gallery.checkpoint.recipe.io.foresight_offsets)
    period_ms = gallery.checkpoint.contract.period_ns / 1e6
    return _grid(rows, columns=[f"{offset * period_ms:.0f} ms" for offset in offsets])


def attention_figure(gallery: Gallery) -> Figure:
    """Where the latent-action queries look (figure 9)."""
    samples = gallery.samples()
    imagination = gallery.imagination(samples, steps=1)
    transition = gallery.model.transition(gallery.present(samples), imagination=imagination)
    return _grid(attention_rows(gallery.model, transition, samples.frames[:, :, 0]))


def reconstructions_figure(gallery: Gallery, pretrained: Checkpoint) -> Figure:
    """What each member draws of the future, by the decoders of stage II (figure 8)."""
    recipe, mixture = gallery.checkpoint.recipe, gallery.model.config.mixture
    if mixture is None or recipe.idm is None:
        raise ValueError("this recipe pretrains no inverse dynamics models")
    objective = IdmObjective(gallery.model, recipe.idm)
    put_weights(objective, read_weights(pretrained), where=str(pretrained.path))
    objective.eval()
    cached = recipe.idm.model_copy(update={"cache_features": True})  # the two frames alone; features are imagined below
    source = gallery.part.open(transition_window(cached, recipe.io, mixture), "validation")
    shown = spaced(len(source), gallery.number)
    transitions = Transitions(
        source, rows=shown, features=None, cameras=mixture.tokens.cameras, farthest=recipe.idm.farthest
    )
    batch = transitions.batch(shown)
    if mixture.tokens.kind == "features":
        samples = source.batch(shown)
        features = gallery.imagination(samples, steps=1).features
        batch["imagined_features"] = features[:, :, [mixture.tokens.now_frame, mixture.tokens.future_frame]]
    return _grid(reconstruction_rows(objective, batch))


def codes_figure(model: Mola) -> Figure:
    """How often each code was chosen in training, most used first; perplexity and codes in use in the title."""
    usage = {} if model.mixture is None else model.mixture.code_usage()
    if not usage:
        raise ValueError("this model has no codebook")
    figure, axes = plt.subplots(len(usage), 1, figsize=(8, 2.2 * len(usage)), squeeze=False, layout="constrained")
    for (name, codes), axis in zip(usage.items(), axes[:, 0], strict=True):
        shares = np.sort(codes.shares.cpu().numpy())[::-1]
        axis.bar(np.arange(len(shares)), shares, width=0.9, color="#4878b0")
        axis.axhline(1.0 / len(shares), color="#888888", linewidth=0.8, linestyle="--")
        axis.set_title(
            f"{name}: perplexity {codes.perplexity:.1f}, {codes.used} of {len(shares)} codes in use", fontsize=10
        )
        axis.set_ylabel("share")
    axes[-1, 0].set_xlabel("code, by use")
    return figure


def curves_figure(stages: Mapping[str, Path]) -> Figure:
    """Loss against step of every stage, training and validation."""
    figure, axes = plt.subplots(1, len(stages), figsize=(4.2 * len(stages), 3.2), squeeze=False, layout="constrained")
    for (name, folder), axis in zip(stages.items(), axes[0], strict=True):
        lines = read_metrics(folder)
        for split, style in (("training", "-"), ("validation", "o-")):
            points = [(line["step"], line["loss"]) for line in lines if line["split"] == split]
            if points:
                axis.plot(*zip(*points, strict=True), style, markersize=3, linewidth=1, label=split)
        axis.set_title(name, fontsize=10)
        axis.set_xlabel("step")
        axis.set_yscale("log")
        axis.legend(fontsize=8)
    axes[0, 0].set_ylabel("loss")
    return figure


def _grid(rows: Mapping[str, Frames], *, columns: Sequence[str] = ()) -> Figure:
    first = next(iter(rows.values()))
    wide, aspect = len(first), first[0].shape[1] / first[0].shape[0]
    mpl.rcParams["font.size"] = 8
    size = (_INCH * aspect * wide + 1.4, _INCH * len(rows))
    figure, axes = plt.subplots(len(rows), wide, figsize=size, squeeze=False, layout="constrained")
    for (name, frames), line in zip(rows.items(), axes, strict=True):
        for frame, axis in zip(frames, line, strict=True):
            axis.imshow(frame, interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", wrap=True)
    for title, axis in zip(columns, axes[0], strict=False):
        axis.set_title(title)
    return figure
