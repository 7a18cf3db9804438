"""Stage I learns from every format at once, each with its own pictures, cameras and rhythm; as the paper's mixture is made."""

import json
from pathlib import Path

import pytest
from line_data import write_blobs

from mola_core.cli import main
from mola_core.training.checkpoint import load_checkpoint
from mola_core.training.datasets import open_parts
from mola_core.training.metrics import read_metrics
from mola_core.training.recipe import MixturePart
from mola_core.training.recipes import recipe_named
from mola_core.training.recipes.changes import changed
from tests.core.test_data_sources import bridge, record, rt_1, write_calvin, write_libero, write_rlds, write_videos

OFFSETS = (1, 2)


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("mixture")
    write_libero(folder / "libero" / "put_the_bowl_demo.hdf5")
    write_rlds(folder / "rt_1", [[record(rt_1(6))], [record(rt_1(5))]])
    write_rlds(folder / "bridge", [[record(bridge(6))], [record(bridge(7))]], name="bridge_dataset")
    write_calvin(folder / "calvin")
    write_videos(folder / "something_something")
    write_blobs(folder / "twin", episodes=3)
    return {path.name: path for path in sorted(folder.iterdir())}


def test_a_mixture_of_all_formats_trains_the_video_model(datasets: dict[str, Path], tmp_path: Path) -> None:
    mixture = [{"dataset": name, "weight": 1.0} for name in datasets]
    demonstrations = [{"dataset": "twin", "weight": 1.0}]
    settings = {
        "mixture": json.dumps(mixture),
        "demonstrations": json.dumps(demonstrations),
        "io.foresight_offsets": json.dumps(OFFSETS),
        "video.steps": 2,
        "video.batch_size": 12,
        "video.validation_batches": 1,
        "validation_share": 0.34,
    }
    words = ["train", "stage1", "--recipe", "twin-tiny", "--out", str(tmp_path / "run"), "--caches", str(tmp_path)]
    words += [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    words += [word for name, path in datasets.items() for word in ("--data", f"{name}={path}")]

    assert main(words) == 0

    assert load_checkpoint(tmp_path / "run" / "video" / "final").step == 2
    assert {line["split"] for line in read_metrics(tmp_path / "run" / "video")} == {"training", "validation"}


def test_every_dataset_of_the_mixture_brings_its_own_cameras_and_rhythm(datasets: dict[str, Path]) -> None:
    recipe = changed(
        recipe_named("twin-tiny"),
        io={"foresight_offsets": OFFSETS},
        mixture=tuple(MixturePart(dataset=name, weight=1.0) for name in datasets),
    )
    parts = {part.name: part for part in open_parts(recipe.mixture, recipe=recipe, data=datasets)}
    assert parts.keys() == {"bridge", "calvin", "libero", "rt_1", "something_something", "twin"}
    assert {name: part.cameras for name, part in parts.items() if len(part.cameras) == 1} == {
        "bridge": (0,),
        "rt_1": (0,),
        "something_something": (0,),
    }
    assert len({part.period_ns for part in parts.values()}) > 3
