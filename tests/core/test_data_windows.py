"""From a dataset on disk to batches: windows, masks, caches, order, statistics, and what bad data gets."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from mola_core.contracts.errors import ConfigError
from mola_core.contracts.io_spec import CameraView, ContractMismatchError, DataContract
from mola_core.contracts.normalization import relative_actions
from mola_core.data.errors import BadFileError, DataError
from mola_core.data.labels.codec import pack, unpack
from mola_core.data.labels.info import MapsInfo
from mola_core.data.labels.store import LabelFolder, load_arrays, save_arrays
from mola_core.data.lerobot.writer import LeRobotWriter
from mola_core.data.opening import open_samples
from mola_core.data.row_cache import build_cache, open_cache
from mola_core.data.sample import WindowSpec
from mola_core.data.statistics import StreamedColumns, normalization_of
from mola_core.data.windows import split_episodes

CONTRACT = DataContract(cameras=("third_person", "wrist"), period_ns=100_000_000)
LENGTHS = (12, 9, 7)
VIEWS = tuple(CameraView(camera=camera, width=32, height=32) for camera in CONTRACT.cameras)


def window(**changes: object) -> WindowSpec:
    return WindowSpec.model_validate({"views": VIEWS, "offsets": (0, 2, 4), "horizon": 3} | changes)


def write_dataset(path: Path, *, contract: DataContract = CONTRACT, mistakes: list[list[int]] | None = None) -> Path:
    """Three short episodes whose grey level is ten times the row and whose numbers say where they come from."""
    rng = np.random.default_rng(0)
    writer = LeRobotWriter(path, contract=contract, cameras=dict.fromkeys(contract.cameras, (64, 48)))
    for episode, length in enumerate(LENGTHS):
        for row in range(length):
            state, action = rng.normal(size=13) * 0.1, rng.normal(size=7) * 0.1
            state[0], action[0] = episode + row / 100, episode + row / 100
            images = {
                name: np.full((48, 64, 3), 10 * row + 5 * at, np.uint8) for at, name in enumerate(contract.cameras)
            }
            writer.add_row(state=state, action=action, images=images)
        writer.end_episode(f"do thing {episode}", mistakes=mistakes or [])
    writer.finalize()
    return path


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("windows") / "demo")


def test_sample_is_the_window_of_its_row(dataset: Path) -> None:
    source = open_samples(dataset, window(), contract=CONTRACT, quiet=True)
    assert len(source) == sum(length - 1 for length in LENGTHS), "the last row of an episode has no action after it"
    sample = source.sample(3)
    assert (sample.episode, sample.row, sample.instruction) == (0, 3, "do thing 0")
    assert sample.frames.shape == (2, 3, 32, 32, 3)
    np.testing.assert_allclose(sample.frames[:, :, 16, 16, 0], [[30, 50, 70], [35, 55, 75]], atol=2)
    np.testing.assert_allclose(sample.motion.actions[:, 0], [0.04, 0.05, 0.06], atol=1e-6)
    assert sample.motion.state[0] == pytest.approx(0.03)
    assert sample.frame_mask.all()
    assert sample.motion.action_mask.all()


def test_beyond_the_end_the_last_row_stands_and_is_masked(dataset: Path) -> None:
    source = open_samples(dataset, window(), quiet=True)
    last = next(number for number in range(len(source)) if tuple(source.index[number]) == (0, 10))
    sample = source.sample(last)
    np.testing.assert_array_equal(sample.frame_mask, [[True, False, False]] * 2)
    np.testing.assert_allclose(sample.frames[0, :, 16, 16, 0], [100, 110, 110], atol=2)
    np.testing.assert_array_equal(sample.motion.action_mask, [True, False, False])
    np.testing.assert_allclose(sample.motion.actions[:, 0], [0.11, 0.11, 0.11], atol=1e-6)


def test_mistakes_are_not_imitated(tmp_path: Path) -> None:
    source = open_samples(write_dataset(tmp_path / "demo", mistakes=[[3, 5]]), window(), quiet=True)
    rows = [int(row) for episode, row in source.index if episode == 0]
    assert rows == [0, 1, 4, 5, 6, 7, 8, 9, 10], "rows whose next action is a mistake are no samples"
    np.testing.assert_array_equal(source.motion(1).action_mask, [True, False, False])


def test_batch_is_its_samples(dataset: Path) -> None:
    source = open_samples(dataset, window(), quiet=True)
    batch = source.batch([5, 0, 11])
    for at, number in enumerate([5, 0, 11]):
        sample = source.sample(number)
        np.testing.assert_array_equal(batch.frames[at], sample.frames)
        np.testing.assert_array_equal(batch.actions[at], sample.motion.actions)
        assert batch.instructions[at] == sample.instruction


def test_cached_frames_are_the_decoded_ones(dataset: Path, tmp_path: Path) -> None:
    cached = open_samples(dataset, window(), cache_folder=tmp_path, quiet=True)
    decoded = open_samples(dataset, window(), cached=False)
    for number in range(0, len(cached), 5):
        np.testing.assert_array_equal(cached.sample(number).frames, decoded.sample(number).frames)
    assert len(list(tmp_path.iterdir())) == 1, "one cache, nothing left of its building"


def test_cache_follows_the_dataset(tmp_path: Path) -> None:
    first = write_dataset(tmp_path / "demo")
    open_samples(first, window(), quiet=True)
    shutil.rmtree(first)
    write_dataset(first, mistakes=[[0, 1]])
    open_samples(first, window(), quiet=True)
    assert len(list((tmp_path / ".mola-cache").iterdir())) == 2


def test_interrupted_building_leaves_no_cache(tmp_path: Path) -> None:
    def failing() -> object:
        yield 0, {"a": np.zeros((2, 3), np.uint8)}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_cache(tmp_path / "cache", num_rows=4, blocks=failing())  # type: ignore[arg-type]  # a generator of blocks
    assert not list(tmp_path.iterdir())


def test_remains_of_a_dead_builder_are_swept_away(tmp_path: Path) -> None:
    (tmp_path / ".cache.999999999").mkdir()
    (tmp_path / f".cache.{os.getppid()}").mkdir()
    build_cache(tmp_path / "cache", num_rows=2, blocks=iter([(0, {"a": np.ones((2, 3), np.uint8)})]))
    assert sorted(path.name for path in tmp_path.iterdir()) == [f".cache.{os.getppid()}", "cache"]


def test_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(DataError, match=r"no cache can be built at .*file/cache .*set MOLA_CACHE_DIR"):
        build_cache(tmp_path / "file" / "cache", num_rows=2, blocks=iter([(0, {"a": np.ones((2, 3), np.uint8)})]))


def test_a_cache_that_another_process_finished_first_is_used(tmp_path: Path) -> None:
    theirs = build_cache(tmp_path / "theirs", num_rows=2, blocks=iter([(0, {"a": np.ones((2, 3), np.uint8)})]))

    def meanwhile():
        yield 0, {"a": np.zeros((2, 3), np.uint8)}
        shutil.copytree(theirs.path, tmp_path / "cache")

    ours = build_cache(tmp_path / "cache", num_rows=2, blocks=meanwhile())
    assert ours.arrays["a"].all()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "theirs"]


def test_cache_larger_than_the_disk_is_refused_before_it_is_built(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"needs \d+\.\d GiB, its disk has"):
        build_cache(tmp_path / "cache", num_rows=2**40, blocks=iter([(0, {"a": np.ones((2, 300), np.uint8)})]))
    assert not list(tmp_path.iterdir())


def test_cache_goes_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOLA_CACHE_DIR", str(tmp_path / "elsewhere"))
    path = write_dataset(tmp_path / "data" / "demo")
    open_samples(path, window(), quiet=True)
    assert len(list((tmp_path / "elsewhere").iterdir())) == 1
    assert [entry.name for entry in path.parent.iterdir()] == ["demo"]


def test_truncated_cache_is_named(tmp_path: Path) -> None:
    build_cache(tmp_path / "cache", num_rows=2, blocks=iter([(0, {"a": np.ones((2, 3), np.uint8)})]))
    os.truncate(tmp_path / "cache" / "000.raw", 3)
    with pytest.raises(BadFileError, match="cache"):
        open_cache(tmp_path / "cache")


def test_pictures_alone_need_no_numbers(dataset: Path) -> None:
    source = open_samples(dataset, window(horizon=0), quiet=True)
    batch = source.batch([0, 1])
    assert batch.state.shape == (2, 0)
    assert batch.actions.shape == (2, 0, 0)
    assert len(source) == sum(length - 2 for length in LENGTHS)


def test_missing_camera_is_masked(dataset: Path) -> None:
    views = (*VIEWS[:1], CameraView(camera="ceiling", width=32, height=32))
    sample = open_samples(dataset, window(views=views), quiet=True).sample(0)
    assert sample.frame_mask.tolist() == [[True] * 3, [False] * 3]
    assert not sample.frames[1].any()


def test_no_camera_at_all_is_refused(dataset: Path) -> None:
    with pytest.raises(DataError, match="none of which is asked for"):
        open_samples(dataset, window(views=(CameraView(camera="ceiling", width=32, height=32),)), quiet=True)


def test_another_contract_is_refused(dataset: Path) -> None:
    other = CONTRACT.model_copy(update={"period_ns": 50_000_000})
    with pytest.raises(ContractMismatchError, match="period_ns 100000000 against 50000000"):
        open_samples(dataset, window(), contract=other, quiet=True)


@pytest.mark.parametrize(
    "changes", [{"offsets": (1, 2)}, {"offsets": (0, 4, 2)}, {"labels": ("smell",)}, {"horizon": -1}]
)
def test_impossible_windows_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        window(**changes)


def test_unknown_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no dataset of a known format"):
        open_samples(tmp_path, window())


def test_split_is_stable_and_whole() -> None:
    train = split_episodes(100, split="train", validation_share=0.1)
    held_out = split_episodes(100, split="validation", validation_share=0.1)
    assert sorted([*train, *held_out]) == list(range(100))
    assert len(held_out) == 10
    assert len(split_episodes(3, split="validation", validation_share=0.01)) == 1
    assert len(split_episodes(3, split="train", validation_share=0.0)) == 3


def test_streamed_statistics_are_those_of_everything() -> None:
    rows = np.random.default_rng(0).normal(loc=3.0, size=(5000, 4)) * [1, 2, 3, 4]
    streamed = StreamedColumns(4)
    for part in np.array_split(rows, 13):
        streamed.add(part)
    result = streamed.result()
    np.testing.assert_allclose(result.mean, rows.mean(axis=0))
    np.testing.assert_allclose(result.std, rows.std(axis=0))
    np.testing.assert_allclose(result.low, np.quantile(rows, 0.005, axis=0))
    assert result.count == 5000


def test_normalisation_brings_actions_to_unit_size(dataset: Path) -> None:
    source = open_samples(dataset, window(), quiet=True)
    normalization = normalization_of([source])
    assert normalization.relative
    batch = source.batch(range(len(source)))
    normalized = normalization.normalize_actions(batch.actions, state=batch.state)[batch.action_mask]
    assert np.abs(normalized).max() < 1.5
    assert np.abs(normalized).max(axis=0).min() > 0.9
    relative = relative_actions(batch.actions.astype(float), state=batch.state.astype(float))[batch.action_mask]
    spread = (relative.max(axis=0) - relative.min(axis=0)) / 2
    np.testing.assert_allclose(normalization.action.scale, spread, rtol=0.3)
    assert normalization == normalization_of([source])


def test_nan_in_the_data_is_named(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer refuses NaN, so the damage is done behind its back."""
    source = open_samples(dataset, window(), quiet=True)
    reader = source._source.reader  # type: ignore[attr-defined]
    original = reader.rows

    def damaged(episode: int) -> object:
        rows = original(episode)
        action = rows.action.copy()
        action[4, 2] = np.nan
        return replace(rows, action=action)

    monkeypatch.setattr(reader, "rows", damaged)
    with pytest.raises(DataError, match="episode 0: action has tcp_z = nan in row 4"):
        source.sample(0)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "uint16", "int16", "float32"])
def test_packed_labels_come_back(dtype: str) -> None:
    array = (np.random.default_rng(0).normal(size=(5, 4, 3)) * 90).astype(dtype)
    np.testing.assert_array_equal(unpack(pack(array), dtype=dtype, shape=array.shape), array)


def test_truncated_labels_are_named(tmp_path: Path) -> None:
    path = tmp_path / "episode.safetensors"
    save_arrays(path, {"depth": np.ones((4, 8, 8), np.uint16)})
    os.truncate(path, path.stat().st_size - 5)
    with pytest.raises(BadFileError, match=r"episode\.safetensors"):
        load_arrays(path)


MAPS = MapsInfo(
    teacher="fake",
    model="none",
    labels=("depth", "semantic", "flow"),
    sizes=dict.fromkeys(CONTRACT.cameras, (8, 6)),
    depth_unit="metres",
    flow_offsets=(2, 4),
)


def write_maps(dataset: Path, *, episodes: int) -> None:
    folder = LabelFolder(dataset, teacher="fake")
    folder.begin(MAPS)
    for episode, length in enumerate(LENGTHS[:episodes]):
        number = np.arange(length).reshape(-1, 1, 1)
        arrays = {}
        for camera in CONTRACT.cameras:
            arrays[f"depth/{camera}"] = np.broadcast_to(number, (length, 6, 8)).astype(np.uint16)
            arrays[f"depth_scale/{camera}"] = np.full(length, 0.5, np.float32)
            arrays[f"semantic/{camera}"] = np.full((length, 6, 8, 3), 100, np.int8)
            arrays[f"semantic_scale/{camera}"] = np.full((length, 3), [0.1, 0.2, episode], np.float32)
            for offset in MAPS.flow_offsets:
                arrays[f"flow+{offset}/{camera}"] = np.full((length, 6, 8, 2), offset * 1024, np.int16)
                arrays[f"flow_known+{offset}/{camera}"] = np.ones((length, 6, 8), np.uint8)
        folder.write(episode, arrays)


def test_labels_of_a_picture_model_reach_the_sample(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "demo")
    write_maps(path, episodes=3)
    wanted = window(labels=("depth", "semantic", "flow"))
    labels = open_samples(path, wanted, label_teacher="fake", quiet=True).sample(10).labels
    np.testing.assert_allclose(labels["depth"][0, :, 0, 0], [5.0, 5.5, 5.5])
    np.testing.assert_allclose(labels["semantic"][1, 2, 5, 7], [10.0, 20.0, 0.0], rtol=1e-6)
    np.testing.assert_allclose(labels["flow"][1, :, 0, 0, 0], [0.25, 0.25])
    assert labels["flow_mask"][:, 0].sum() == 0, "beyond the end nothing is known"
    with pytest.raises(DataError, match="labelled the flow over"):
        open_samples(path, window(labels=("flow",), offsets=(0, 3)), label_teacher="fake", quiet=True).sample(0)


def test_each_label_may_have_a_teacher_of_its_own(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "demo")
    write_maps(path, episodes=3)
    wanted = window(labels=("depth", "flow"))
    one = open_samples(path, wanted, label_teacher="fake", quiet=True).sample(1).labels
    two = open_samples(path, wanted, label_teacher={"depth": "fake", "flow": "fake"}, quiet=True).sample(1).labels
    assert set(two) == {"depth", "depth_mask", "flow", "flow_mask"}
    for name, array in one.items():
        np.testing.assert_array_equal(array, two[name])
    with pytest.raises(DataError, match="no teacher is named for flow"):
        open_samples(path, wanted, label_teacher={"depth": "fake"}, quiet=True)


def test_the_only_teacher_need_not_be_named(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "demo")
    wanted = window(labels=("depth", "semantic"))
    with pytest.raises(DataError, match="has depth by no teacher; make labels with: mola data label"):
        open_samples(path, wanted, quiet=True)
    write_maps(path, episodes=3)
    assert set(open_samples(path, wanted, quiet=True).sample(0).labels) == {"depth", "depth_mask", "semantic"}
    shutil.copytree(path / "labels" / "fake", path / "labels" / "other")
    with pytest.raises(DataError, match="has depth by several teachers: fake, other; name one"):
        open_samples(path, wanted, quiet=True)


def test_missing_labels_are_named(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "demo")
    with pytest.raises(DataError, match="labels there are: none"):
        open_samples(path, window(labels=("depth",)), label_teacher="twin", quiet=True)
    write_maps(path, episodes=2)
    with pytest.raises(DataError, match="lacks 1 of 3 episodes"):
        open_samples(path, window(labels=("depth",)), label_teacher="fake", quiet=True)
    with pytest.raises(ConfigError, match="made otherwise"):
        LabelFolder(path, teacher="fake").begin(MAPS.model_copy(update={"model": "another"}))
