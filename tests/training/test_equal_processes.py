"""The real stages learn the same in one process, in two, and from a batch in parts; so far as `Whole` and `Draws` say."""

import math
from dataclasses import dataclass
from pathlib import Path

import pytest
from line_data import write_blobs
from training_fakes import ONE
from two_processes import in_two_processes

from mola_core.training.metrics import read_metrics
from mola_core.training.pipeline import train
from mola_core.training.progress import SilentReporter
from mola_core.training.recipe import Recipe
from mola_core.training.recipes import recipe_named
from mola_core.training.recipes.changes import with_settings
from mola_core.training.run import Run
from mola_core.training.stopping import StopRequest

STAGES = ("autoencoder", "video", "idm", "policy")
EVERY_STAGE = (
    "steps=4",
    "batch_size=8",
    "precision=fp32",
    "log_every=1",
    "validate_every=2",
    "validation_batches=1",
    "schedule.warmup_steps=1",
)
EVERYTHING = (
    "validation_share=0.4",
    "model.visual.blocks=1",
    "idm.imagined_share=0.5",
    "idm.cache_features=false",
    "policy.semantic_weight=0.3",
    "policy.reach=0.1",
    "model.mixture.idm.codebook.standardised=false",
)
"""All at once that looks at more than one sample: masks, weights, classes, prefixes, states that are withheld. Only transitions
of whole windows, as a video model that runs along needs them, may lack their future."""
STANDARDISED = ("model.mixture.idm.codebook.standardised=true", "policy.mixture=from_scratch")
"""Vectors that hardly differ are told apart then, and so is the rounding of products of different sizes."""
UNET = ("model.backbone.widths=[32,32]", "model.backbone.autoencoder.widths=[8,8,8]")
TWO = {
    "video": ("twin-tiny", "video", EVERYTHING),
    "idm": ("twin-tiny", "idm", EVERYTHING),
    "policy": ("twin-tiny", "policy", EVERYTHING),
    "edm head": ("twin-tiny.edm-head", "policy", EVERYTHING),
    "autoregressive head": ("twin-tiny.ar-head", "policy", EVERYTHING),
    "autoencoder": ("twin-tiny.unet", "autoencoder", UNET),
}
"""Recipe, stage, settings."""
IN_PARTS = {
    "video": ("twin-tiny", "video", EVERYTHING),
    "idm without codebooks": ("twin-tiny.direct", "idm", EVERYTHING),
    "policy on frozen idms": ("twin-tiny.frozen", "policy", EVERYTHING),
}
"""Codebooks that learn, and what is standardised over a batch, see a part at a time."""
APART = ("samples_per_s", "_told_apart")
"""Metrics that are of the machine, or of a process's own part of the batch."""


def recipe_of(name: str, *settings: str) -> Recipe:
    recipe = recipe_named(name)
    stages = [stage for stage in STAGES if getattr(recipe, stage) is not None]
    every = [f"{stage}.{setting}" for stage in stages for setting in EVERY_STAGE]
    return with_settings(recipe, [*every, *settings])


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Episodes shorter than some windows: masks are uneven."""
    return write_blobs(tmp_path_factory.mktemp("data") / "blobs")


@pytest.fixture(scope="module")
def made(blobs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stages to begin from, and caches."""
    folder = tmp_path_factory.mktemp("made")
    train(run_of(folder, blobs, recipe_of("twin-tiny", *EVERYTHING), caches=folder / "caches"), ["video", "idm"])
    return folder


def run_of(folder: Path, data: Path, recipe: Recipe, **fields) -> Run:
    values = {"world": ONE, "reporter": SilentReporter(), "stop": StopRequest()} | fields
    return Run(recipe=recipe, folder=folder, data={"twin": data}, **values)


def curves(folder: Path) -> list[dict[str, float]]:
    lines = [{name: value for name, value in line.items() if not name.endswith(APART)} for line in read_metrics(folder)]
    assert {line["split"] for line in lines} == {"training", "validation"}
    return lines


def differing(one: list[dict[str, float]], other: list[dict[str, float]], *, rel: float) -> list[str]:
    """What is not the same."""
    found = []
    for line, beside in zip(one, other, strict=True):
        assert line.keys() == beside.keys()
        found += [
            f"step {line['step']} {line['split']} {name}: {value} and {beside[name]}"
            for name, value in line.items()
            if value != beside[name] and not math.isclose(value, beside[name], rel_tol=rel, abs_tol=1e-6)
        ]
    return found


@dataclass(frozen=True)
class Learning:
    """One stage, learned again and again from the same beginning."""

    blobs: Path
    made: Path
    folder: Path
    stage: str

    def learn(self, name: str, recipe: Recipe, **fields) -> Path:
        """The folder of its metrics."""
        base = self.made / "idm" / "final" if self.stage in {"idm", "policy"} else None
        folder = self.folder / name
        train(run_of(folder, self.blobs, recipe, base=base, caches=self.made / "caches", **fields), [self.stage])
        return folder / self.stage

    def learn_in_two(self, name: str, recipe: Recipe) -> Path:
        """The same by two processes."""
        assert in_two_processes(lambda world: self.learn(name, recipe, world=world)) == [0, 0]
        return self.folder / name / self.stage


@pytest.mark.parametrize("case", TWO)
def test_two_processes_learn_what_one_does(case: str, blobs: Path, made: Path, tmp_path: Path) -> None:
    name, stage, settings = TWO[case]
    learning, recipe = Learning(blobs, made, tmp_path, stage), recipe_of(name, *settings)
    one, two = learning.learn("one", recipe), learning.learn_in_two("two", recipe)
    assert differing(curves(one), curves(two), rel=1e-4) == []


@pytest.mark.parametrize("case", IN_PARTS)
def test_a_batch_in_parts_teaches_what_it_teaches_at_once(case: str, blobs: Path, made: Path, tmp_path: Path) -> None:
    name, stage, settings = IN_PARTS[case]
    learning, recipe = Learning(blobs, made, tmp_path, stage), recipe_of(name, *settings)
    at_once = learning.learn("at once", recipe)
    in_parts = with_settings(recipe, [f"{stage}.accumulate=2"])
    assert differing(curves(at_once), curves(learning.learn("parts", in_parts)), rel=1e-4) == []
    assert differing(curves(at_once), curves(learning.learn_in_two("both", in_parts)), rel=1e-4) == []


@pytest.mark.parametrize("stage", ["idm", "policy"])
def test_two_processes_standardise_over_both(stage: str, blobs: Path, made: Path, tmp_path: Path) -> None:
    """In the first step as closely as rounding allows; Adam makes more of it in the steps that follow."""
    learning, recipe = Learning(blobs, made, tmp_path, stage), recipe_of("twin-tiny", *EVERYTHING, *STANDARDISED)
    one, two = (curves(folder) for folder in (learning.learn("one", recipe), learning.learn_in_two("two", recipe)))
    assert differing(one[:1], two[:1], rel=1e-3) == []
    assert [line["loss"] for line in two] == pytest.approx([line["loss"] for line in one], rel=5e-3)
