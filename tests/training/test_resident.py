"""Datasets in a GPU's memory give the batches that they give from disk. The device here is the CPU: what is looked up is the same."""

import numpy as np
import pytest
import torch
from line_data import write_blobs
from training_fakes import ONE

from mola_core.data.sample import WindowSpec
from mola_core.nets.config import LanguageConfig
from mola_core.nets.language import build_encoder
from mola_core.training.datasets import Chosen, Part, mixed, open_parts
from mola_core.training.demonstrations import Demonstrations
from mola_core.training.draws import Draws, hashed_normal, hashed_uniform
from mola_core.training.recipe import Recipe
from mola_core.training.recipes import recipe_named
from mola_core.training.recipes.changes import with_settings
from mola_core.training.resident import ResidentSource, arranged, resident
from mola_core.training.stage import Batch, BatchSource
from mola_core.training.stage1_video import FrameWindows
from mola_core.training.tensors import EncodedSentences

CPU = torch.device("cpu")


def recipe() -> Recipe:
    return with_settings(recipe_named("twin-tiny"), ["validation_share=0.2"])


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Part:
    path = write_blobs(tmp_path_factory.mktemp("data") / "blobs")
    return open_parts(recipe().mixture, recipe=recipe(), data={"twin": path})[0]


def sentences(part: Part) -> EncodedSentences:
    return EncodedSentences(part.rows.sentences, encoder=build_encoder(LanguageConfig(encoder="minilm")))


def windows(part: Part) -> FrameWindows:
    window = WindowSpec(views=recipe().io.views, offsets=(0, 4, 8), horizon=0)
    return FrameWindows(part, source=part.open(window, "train"), sentences=sentences(part))


def demonstrations(part: Part, *, features: bool = False, labels: tuple[str, ...] = ()) -> Demonstrations:
    from mola_core.data.statistics import normalization_of  # noqa: PLC0415

    io = recipe().io
    source = part.open(WindowSpec(views=io.views, offsets=(0,), horizon=io.horizon, labels=labels), "train")
    return Demonstrations(
        source,
        part=part,
        sentences=sentences(part),
        normalization=normalization_of([source]),
        features=np.zeros((len(part.rows), 1, 2, 3, 4, 2, 2), np.float16) if features else None,
        with_pictures=True,
        labels=labels,
    )


def assert_alike(source: BatchSource, placed: BatchSource) -> None:
    numbers = np.random.default_rng(3).permutation(len(source))[:17]
    expected, found = source.batch(numbers), placed.batch(numbers)
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert tensor.dtype == found[name].dtype, name
        assert torch.equal(tensor, found[name]), name


def test_windows_of_pictures_are_the_same_from_tables(part: Part) -> None:
    source = windows(part)
    assert_alike(source, ResidentSource(source.fields(), device=CPU))


def test_demonstrations_are_the_same_from_tables(part: Part) -> None:
    for labels in ((), ("semantic", "referred")):
        source = demonstrations(part, labels=labels)
        assert set(labels) <= source.batch([0]).keys()
        assert_alike(source, ResidentSource(source.fields(), device=CPU))


def test_cached_features_and_pictures_decoded_when_needed_are_not_tabulated(part: Part) -> None:
    assert demonstrations(part, features=True).fields() is None
    live = with_settings(recipe(), ["cache_frames=false"])
    assert windows(open_parts(live.mixture, recipe=live, data={"twin": part.path})[0]).fields() is None


def test_without_a_gpu_sources_stay_as_they_are(part: Part) -> None:
    source = windows(part)
    assert resident([source], ONE) == [source]


def test_several_resident_sources_join_on_their_device() -> None:
    first, second = (
        ResidentSource({"x": arranged(np.arange(size, dtype=np.float32) + begin)}, device=CPU)
        for size, begin in ((3, 0), (4, 10))
    )
    some = Chosen(second, np.array([1, 3]))  # as the openings of demonstrations are
    joined, _ = mixed([first, second, some], [1.0, 1.0, 0.5])
    batch: Batch = joined.batch([5, 0, 2, 3, 8])
    assert joined.resident
    assert batch["x"].tolist() == [12.0, 0.0, 2.0, 10.0, 13.0]


def test_hashed_numbers_are_normal_uniform_and_their_rows_own() -> None:
    rows = Draws(seed=5, places=range(500), device=CPU)._rows("noise")  # what a GPU starts from
    normal, uniform = hashed_normal(rows, (400,)), hashed_uniform(rows, (400,))
    assert float(normal.mean()) == pytest.approx(0.0, abs=0.01)
    assert float(normal.std()) == pytest.approx(1.0, abs=0.01)
    assert float((normal**4).mean()) == pytest.approx(3.0, abs=0.1)
    assert float(normal.abs().max()) < 7.0
    assert 0.0 <= float(uniform.min()) < 0.001
    assert 0.999 < float(uniform.max()) < 1.0
    assert abs(float((normal[1:] * normal[:-1]).mean())) < 0.01
    assert abs(float((normal[:, 1:] * normal[:, :-1]).mean())) < 0.01
    assert torch.equal(hashed_normal(rows[7:9], (400,)), normal[7:9])
    assert not torch.equal(Draws(seed=5, places=range(500), device=CPU)._rows("other"), rows)
