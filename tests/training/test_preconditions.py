"""What a later stage would refuse, ``mola train all`` refuses before the first one begins: nothing is written, nothing is built."""

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from line_data import CONTRACT, LENGTH, write_blobs

from mola_core.cli import main
from mola_core.contracts.io_spec import DataContract
from mola_core.data.labels.info import MapsInfo
from mola_core.data.labels.store import LabelFolder
from mola_core.training import checks, distributed, pipeline
from mola_core.training.checkpoint import Checkpoint, save_checkpoint
from mola_core.training.distributed import World
from mola_core.training.recipes import recipe_named

Refused = Callable[..., str]
EPISODES = 3
CELLS = "model.visual.blocks=1"
"""Without them there is no reader to ask what its cells show."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blobs(tmp_path_factory.mktemp("whole") / "twin", episodes=EPISODES)


@pytest.fixture
def data(whole: Path, tmp_path: Path) -> Path:
    """A dataset to be spoiled."""
    return Path(shutil.copytree(whole, tmp_path / "twin"))


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Refused:
    """``refused(data, *settings)``: what the command says; on the way no weight was made and nothing written."""

    def never(*_: object, **__: object) -> None:
        raise AssertionError("a model was built")

    monkeypatch.setattr(pipeline, "build_mola", never)

    def run(
        data: Path, *settings: str, recipe: str = "twin-tiny", options: tuple[str, ...] = (), stage: str = "all"
    ) -> str:
        before = set(data.parent.rglob("*"))
        words = ["train", stage, "--recipe", recipe, "--out", str(tmp_path / "run")]
        words += ["--data", f"twin={data}"] if recipe.startswith("twin") else []
        words += [word for setting in settings for word in ("--set", setting)]
        assert main([*words, *options]) != 0
        assert set(data.parent.rglob("*")) == before, "nothing is written"
        return capsys.readouterr().err

    return run


# --- data -------------------------------------------------------------------------------------------------------------


def test_a_number_that_is_not_finite_is_named_with_episode_row_and_column(data: Path, refused: Refused) -> None:
    (file,) = (data / "data").rglob("*.parquet")
    table = pq.read_table(file)
    actions = np.stack(table["action"].to_numpy(zero_copy_only=False)).copy()
    actions[2 * LENGTH + 7, 1] = np.nan
    column = pa.FixedSizeListArray.from_arrays(pa.array(actions.ravel()), actions.shape[1])
    at = table.schema.get_field_index("action")
    pq.write_table(table.set_column(at, table.schema.field(at), column.cast(table.schema.field(at).type)), file)
    name = CONTRACT.action[1]
    assert f"{data}, episode 2: action has {name} = nan in row 7; remove the episode or repair it" in refused(data)


def test_labels_of_one_episode_that_are_missing_are_named(data: Path, refused: Refused) -> None:
    LabelFolder(data, teacher="twin").episode_path(1).unlink()
    said = refused(data)
    assert f"{data}/labels/twin lacks 1 of {EPISODES} episodes, the first is 1; go on with: mola data label" in said


def test_labels_that_are_cut_short_are_named(data: Path, refused: Refused) -> None:
    file = LabelFolder(data, teacher="twin").episode_path(2)
    file.write_bytes(file.read_bytes()[:-1])
    assert f"{file}: no readable labels" in refused(data)


def test_labels_of_another_number_of_rows_are_named(data: Path, refused: Refused) -> None:
    folder = LabelFolder(data, teacher="twin")
    folder.write(0, {name: array[:-1] for name, array in folder.read(0).items()})
    assert f"the episode has {LENGTH} rows; delete the file and run: mola data label" in refused(data)


def test_labels_that_cells_cannot_say_are_named(data: Path, refused: Refused) -> None:
    folder = LabelFolder(data, teacher="twin")
    info = folder.info().model_copy(update={"class_of_geom": (1, 16)})
    (folder.path / "info.json").write_text(info.model_dump_json(), encoding="utf-8")
    said = refused(data, CELLS, "policy.semantic_weight=0.5", stage="stage3")
    assert "dataset twin: semantic class 16 is beyond the 16 that policy.semantic_weight knows" in said


def write_maps(data: Path, *, features: int = 6, flow_offsets: tuple[int, ...] = (8, 16)) -> None:
    """A picture model's labels in place of the simulator's."""
    shutil.rmtree(data / "labels")
    folder, cameras, size = LabelFolder(data, teacher="maps"), CONTRACT.cameras, (10, 6)
    info = MapsInfo(
        teacher="maps",
        model="small",
        labels=("depth", "semantic", "flow"),
        sizes=dict.fromkeys(cameras, size),
        flow_offsets=flow_offsets,
    )
    folder.begin(info)
    grid = (LENGTH, size[1], size[0])
    arrays: dict[str, np.ndarray] = {}
    for camera in cameras:
        arrays |= {f"depth/{camera}": np.ones(grid, np.uint16), f"depth_scale/{camera}": np.ones(LENGTH, np.float32)}
        arrays[f"semantic/{camera}"] = np.ones((*grid, features), np.int8)
        arrays[f"semantic_scale/{camera}"] = np.ones((LENGTH, features), np.float32)
        for offset in flow_offsets:
            arrays[f"flow+{offset}/{camera}"] = np.zeros((*grid, 2), np.int16)
            arrays[f"flow_known+{offset}/{camera}"] = np.ones(grid, np.uint8)
    for episode in range(EPISODES):
        folder.write(episode, arrays)


DRAWN = "model.mixture.decoders.modalities.semantic"


def test_features_where_classes_are_drawn_are_named(data: Path, refused: Refused) -> None:
    write_maps(data)
    said = refused(data)
    assert (
        "its semantic labels by maps are a picture model's features; the recipe draws them with the loss classes"
        in said
    )
    assert f"set {DRAWN}.loss=l2" in said
    said = refused(data, f"{DRAWN}.loss=l2")
    assert f"have 6 numbers a place, the recipe draws 16: set {DRAWN}.channels=6" in said
    said = refused(data, CELLS, "policy.semantic_weight=0.5", stage="stage3")
    assert "its semantic labels are a picture model's features; policy.semantic_weight needs classes" in said


def test_classes_where_features_are_drawn_are_named(data: Path, refused: Refused) -> None:
    said = refused(data, f"{DRAWN}.loss=l2")
    assert (
        f"its semantic labels by twin are classes; the recipe draws them with the loss l2: set {DRAWN}.loss=classes"
        in said
    )


def test_flow_over_other_rows_is_named(data: Path, refused: Refused) -> None:
    write_maps(data, flow_offsets=(4, 8))
    said = refused(data, f"{DRAWN}.loss=l2", f"{DRAWN}.channels=6")
    assert (
        "maps labelled the flow over (4, 8) rows, [16] are wanted too; label anew with: mola data label --offsets 16"
        in said
    )


def test_rows_of_another_length_do_not_go_with_cached_features(data: Path, tmp_path: Path, refused: Refused) -> None:
    slow = DataContract(cameras=CONTRACT.cameras, period_ns=2 * CONTRACT.period_ns)
    write_blobs(tmp_path / "slow", contract=slow, episodes=EPISODES)
    both = 'mixture=[{"dataset":"twin","weight":1},{"dataset":"slow","weight":1}]'
    only = 'demonstrations=[{"dataset":"twin","weight":1}]'
    settings = (both, only, "idm.imagined_share=0.5")
    said = refused(data, *settings, options=("--data", f"slow={tmp_path / 'slow'}"))
    assert "dataset slow has a row every 200 ms, the recipe every 100 ms" in said
    assert "set idm.cache_features=false" in said


def test_labels_of_a_camera_that_is_not_there_are_named(data: Path, tmp_path: Path, refused: Refused) -> None:
    one = DataContract(cameras=CONTRACT.cameras[1:], period_ns=CONTRACT.period_ns)
    write_blobs(tmp_path / "half", contract=one, episodes=EPISODES)
    both = 'mixture=[{"dataset":"twin","weight":1},{"dataset":"half","weight":1}]'
    settings = (both, 'demonstrations=[{"dataset":"twin","weight":1}]')
    said = refused(data, *settings, options=("--data", f"half={tmp_path / 'half'}"))
    assert f"{tmp_path / 'half'} has only the cameras ('wrist',); labels of third_person are wanted" in said


def test_episodes_that_are_too_short_are_named(data: Path, refused: Refused) -> None:
    said = refused(data, "io.foresight_offsets=[8,40]")
    assert "split 'train' has no sample long enough for offsets (0, 40)" in said


def test_pictures_that_are_too_small_are_named(data: Path, refused: Refused) -> None:
    assert "a frame of 80 x 48 is too small for a view of 160 x 96" in refused(data, recipe="twin")


def test_openings_that_no_demonstration_has_are_named(tmp_path: Path, refused: Refused) -> None:
    led = write_blobs(tmp_path / "led" / "twin", episodes=EPISODES, led=12)
    assert "among the first 8 of its episode; set policy.openings=null" in refused(led)


# --- settings ---------------------------------------------------------------------------------------------------------


def test_cells_that_the_reader_does_not_have_are_named(data: Path, refused: Refused) -> None:
    said = refused(data, "policy.semantic_weight=0.5")
    assert "policy.semantic_weight asks the cells of a reader of keypoints with blocks" in said


def test_pixels_do_not_go_with_cached_features(data: Path, refused: Refused) -> None:
    assert "set policy.cache_features=false" in refused(data, "policy.cache_features=true", recipe="twin-tiny.pixels")


def test_pixels_see_no_imagined_future_in_stage_two(data: Path, refused: Refused) -> None:
    said = refused(data, "idm.imagined_share=0.25", recipe="twin-tiny.pixels")
    assert "idm.imagined_share 0.25 needs tokens from features; tokens from pixels see true futures" in said


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("model.mixture.tokens.future_frame=3", "model.mixture.tokens.future_frame 3 is outside 1..2"),
        ("model.mixture.tokens.now_frame=3", "model.mixture.tokens.now_frame 3 is outside 0..2"),
        ("model.mixture.tokens.cameras=[2]", "model.mixture.tokens.cameras names camera 2, the recipe has 0..1"),
        ('model.mixture.tokens={"kind":"pixels","patch":7}', "does not divide into patches of 7; change its model"),
    ],
)
def test_parts_that_do_not_fit_each_other_are_named(setting: str, said: str, data: Path, refused: Refused) -> None:
    assert said in refused(data, setting)


def test_a_part_that_cannot_be_taken_is_named(data: Path, tmp_path: Path, refused: Refused) -> None:
    said = refused(data, options=("--take", "eyes", "--from", str(tmp_path)))
    assert "--take eyes: no part of this model; it has" in said


def test_a_part_of_another_architecture_is_named(data: Path, tmp_path: Path, refused: Refused) -> None:
    recipe = recipe_named("twin-tiny")
    base = Checkpoint(
        path=tmp_path / "base", recipe=recipe, normalization=None, stage="policy", step=1, metrics={}, git={}
    )
    save_checkpoint(base, weights={"model.visual.gone": torch.ones(2)})
    said = refused(data, options=("--take", "visual", "--from", str(base.path)))
    assert f"{base.path}, visual is of another architecture than its model" in said
    save_checkpoint(dataclasses.replace(base, stage="idm"), weights={"model.visual.gone": torch.ones(2)})
    said = refused(data, options=("--take", "visual", "--from", str(base.path)))
    assert "is of stage idm; --take needs a policy's checkpoint" in said


def test_wan_is_refused_before_its_five_billion_numbers_are_made(data: Path, refused: Refused) -> None:
    assert "Wan is taken as published, not trained here" in refused(data, recipe="full.wan", stage="stage1")


# --- processes and memory ---------------------------------------------------------------------------------------------


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Callable[[World], None]:
    """``processes(world)``: the command finds itself there."""

    def use(world: World) -> None:
        @contextmanager
        def joined(**_: object) -> Iterator[World]:
            yield world

        monkeypatch.setattr(distributed, "join_world", joined)

    return use


WORLD = World(rank=0, size=5, device=torch.device("cpu"))


def test_a_batch_that_does_not_divide_by_the_processes_is_named(
    data: Path, refused: Refused, processes: Callable[[World], None]
) -> None:
    processes(WORLD)
    settings = ("video.batch_size=10", "idm.batch_size=10", "policy.batch_size=12")
    assert "stage policy: batch_size 12 is not a multiple of 5 processes" in refused(data, *settings)


def test_codebooks_are_not_sharded(data: Path, refused: Refused, processes: Callable[[World], None]) -> None:
    processes(dataclasses.replace(WORLD, size=2, spread="shard"))
    said = refused(data)
    assert "stage idm trains" in said
    assert "codebooks cannot be sharded; use --spread replicate" in said


def test_too_little_memory_for_the_last_stage_is_said_before_any_is_taken(
    data: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A head of some 90 MB, which counts five times where it is trained: gradient, two moments and an average beside itself."""
    monkeypatch.setattr(checks, "free_memory", lambda _device: 300 * 2**20)
    said = refused(data, "model.head.dit.encoder_layers=200")
    assert "stage policy needs 0.4 GiB of memory for weights and optimizer, cpu has 0.3 GiB free" in said
