"""What stage II is taught: labels of the cameras that tokens are made from, where something is known, in the unit they have."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from line_data import HEIGHT, LENGTH, WIDTH, write_blobs
from training_fakes import ONE

from mola_core.contracts.io_spec import DataContract
from mola_core.data.errors import DataError
from mola_core.data.labels.info import MapsInfo
from mola_core.data.labels.store import LabelFolder
from mola_core.data.sample import WindowSpec
from mola_core.nets.mola import build_mola
from mola_core.training.datasets import Part, mixed, open_parts
from mola_core.training.draws import Draws
from mola_core.training.idm_objective import IdmObjective
from mola_core.training.label_targets import known_in, targets_in
from mola_core.training.pipeline import train
from mola_core.training.progress import SilentReporter
from mola_core.training.recipe import Recipe
from mola_core.training.recipes import recipe_named
from mola_core.training.recipes.changes import with_settings
from mola_core.training.recipes.twin import PERIOD_NS
from mola_core.training.run import Run
from mola_core.training.stage import Batch
from mola_core.training.stopping import StopRequest
from mola_core.training.transitions import Transitions, transition_window
from mola_core.training.whole import Whole

ONE_CAMERA = DataContract(robot="google_robot", cameras=("third_person",), period_ns=PERIOD_NS)
"""As RT-1, Bridge and Something-Something V2 have it; the recipe looks through two."""
GRID = (6, 10)


def short(*settings: str) -> Recipe:
    few = [f"{stage}.{what}" for stage in ("video", "idm") for what in ("steps=2", "batch_size=4")]
    return with_settings(recipe_named("twin-tiny"), [*few, "validation_share=0.2", *settings])


def part_of(path: Path, recipe: Recipe) -> Part:
    return open_parts(recipe.mixture, recipe=recipe, data={"twin": path})[0]


def transitions(path: Path, recipe: Recipe) -> Transitions:
    assert recipe.idm is not None
    mixture = recipe.model.mixture
    assert mixture is not None
    source = part_of(path, recipe).open(transition_window(recipe.idm, recipe.io, mixture))
    return Transitions(
        source,
        rows=np.arange(len(source)),
        features=None,
        cameras=mixture.tokens.cameras,
        farthest=recipe.idm.farthest,
    )


# --- cameras and frames ---


def test_stage_two_learns_from_datasets_without_a_wrist_camera(tmp_path: Path) -> None:
    data = write_blobs(tmp_path / "rt_1", contract=ONE_CAMERA)
    run = Run(
        recipe=short(),
        folder=tmp_path / "run",
        data={"twin": data},
        world=ONE,
        reporter=SilentReporter(),
        stop=StopRequest(),
    )
    assert (train(run, ["video", "idm"]) / "checkpoint.json").is_file()


def test_a_camera_that_tokens_are_made_from_must_be_there(tmp_path: Path) -> None:
    data = write_blobs(tmp_path / "rt_1", contract=ONE_CAMERA)
    with pytest.raises(DataError, match=r"has only the cameras .*third_person.*; labels of wrist are wanted"):
        transitions(data, short("model.mixture.tokens.cameras=[0,1]"))


def test_labels_are_of_the_chosen_cameras_and_frames(tmp_path: Path) -> None:
    data = write_blobs(tmp_path / "blobs")
    views = short().io.views
    whole = WindowSpec(views=views, offsets=(0, 2, 4, 8), horizon=0, labels=("depth", "semantic", "flow"))
    some = whole.model_copy(update={"label_cameras": ("wrist",), "label_frames": (0, 3)})
    part = part_of(data, short())
    every, few = part.open(whole).batch([5, 40]).labels, part.open(some).batch([5, 40]).labels
    assert every["depth"].shape == (2, 2, 4, *GRID)
    for name in ("depth", "depth_mask", "semantic"):
        np.testing.assert_array_equal(few[name], every[name][:, 1:, [0, 3]])
    for name in ("flow", "flow_mask"):
        np.testing.assert_array_equal(few[name], every[name][:, 1:, [2]])


@pytest.mark.parametrize(
    "wrong", [{"label_cameras": ("ceiling",)}, {"label_cameras": ()}, {"label_frames": (1,)}, {"label_frames": (0, 2)}]
)
def test_labels_of_what_is_not_in_the_window_are_refused(wrong: dict[str, object]) -> None:
    fields = {"views": short().io.views, "offsets": (0, 4), "horizon": 0, "labels": ("depth",)}
    with pytest.raises(ValueError, match=next(iter(wrong))):
        WindowSpec.model_validate(fields | wrong)


def test_labels_need_no_cache_of_pictures(tmp_path: Path) -> None:
    """Datasets that are too large to keep decoded have labels, too."""
    data = write_blobs(tmp_path / "blobs")
    batch = transitions(data, short("cache_frames=false")).batch([0, 3])
    assert batch["depth"].shape == (2, 1, *GRID)
    assert [path.name.partition("-")[0] for path in (tmp_path / ".mola-cache").iterdir()] == ["blobs"], "labels alone"


# --- depth ---


def write_depth(data: Path, depth: Callable[[int], np.ndarray], *, unit: str) -> Path:
    """Put a picture model's labels in place; ``depth(row)`` in hundredths, 0 unknown. Flow and classes are the same everywhere."""
    shutil.rmtree(data / "labels", ignore_errors=True)
    info = MapsInfo(
        teacher="maps",
        model="small",
        labels=("depth", "flow"),
        sizes={"third_person": GRID[::-1]},
        depth_unit=unit,  # type: ignore[arg-type]  # one of two
        flow_offsets=(16,),
    )
    folder = LabelFolder(data, teacher="maps")
    folder.begin(info)
    arrays: dict[str, np.ndarray] = {
        "depth/third_person": np.stack([depth(row) for row in range(LENGTH)]).astype(np.uint16),
        "depth_scale/third_person": np.full(LENGTH, 0.01, np.float32),
    }
    arrays["flow+16/third_person"] = np.full((LENGTH, *GRID, 2), 512, np.int16)
    arrays["flow_known+16/third_person"] = np.zeros((LENGTH, *GRID), np.uint8)
    arrays["flow_known+16/third_person"][:, 1] = 1
    for episode in range(2):
        folder.write(episode, arrays)
    return data


def ramp(row: int) -> np.ndarray:
    """Near things are large: 4 to 9.9, and each frame on a scale of its own."""
    return (400 + 10 * np.arange(60).reshape(GRID)) * (1 + row % 3)


TWO_MEMBERS = 'model.mixture.members=[{"name":"depth","targets":["depth"]},{"name":"flow","targets":["flow"]}]'


def small(*settings: str) -> Recipe:
    return short("validation_share=0", TWO_MEMBERS, *settings)


@pytest.fixture
def blobs(tmp_path: Path) -> Path:
    return write_blobs(tmp_path / "blobs", episodes=2, contract=ONE_CAMERA, labelled=False)


def test_relative_depth_is_standardised_by_frame_and_never_cut(blobs: Path) -> None:
    """Depth Anything's numbers are about 8; cut at three metres they were all the same."""
    write_depth(blobs, ramp, unit="relative")
    recipe = small()
    assert recipe.idm is not None
    assert recipe.idm.farthest == 3.0
    depth = transitions(blobs, recipe).batch([0, 1, 2])["depth"].numpy()
    for frame in depth[:, 0]:
        assert np.median(frame) == pytest.approx(0.0, abs=1e-6)
        assert np.abs(frame).mean() == pytest.approx(1.0, abs=1e-5)
    assert (np.diff(depth[0, 0].ravel()) > 0.0).all()
    np.testing.assert_allclose(depth[1], depth[0], atol=1e-5)


def test_depth_in_metres_ends_at_the_farthest(blobs: Path) -> None:
    write_depth(blobs, ramp, unit="metres")
    cut, whole = (transitions(blobs, small(f"idm.farthest={end}")).batch([0])["depth"] for end in ("10.0", "null"))
    assert (float(cut.max()), float(cut.min())) == (10.0, float(whole.min()))
    assert float(whole.max()) > 10.0


def test_the_full_recipe_leaves_depth_whole() -> None:
    idm = recipe_named("full").idm
    assert idm is not None
    assert idm.farthest is None


def test_depth_labels_of_before_are_relative(blobs: Path) -> None:
    """Only Depth Anything made maps then, and its files do not say it."""
    write_depth(blobs, ramp, unit="relative")
    file = LabelFolder(blobs, teacher="maps").path / "info.json"
    file.write_text(file.read_text(encoding="utf-8").replace('"depth_unit": "relative",', ""), encoding="utf-8")
    assert "depth_unit" not in file.read_text(encoding="utf-8")
    depth = transitions(blobs, small()).batch([0])["depth"].numpy()
    assert np.abs(depth).mean() == pytest.approx(1.0, abs=1e-5)


def test_a_frame_of_one_depth_or_none_stays_flat(blobs: Path) -> None:
    write_depth(blobs, lambda row: np.full(GRID, 800 if row % 2 else 0), unit="relative")
    batch = transitions(blobs, small()).batch([0, 1])
    assert not batch["depth"].any()
    assert sorted(batch["depth_mask"].flatten(1).all(dim=1).tolist()) == [False, True]


# --- what is not known ---


def losses(recipe: Recipe, batch: Batch) -> tuple[dict[str, torch.Tensor], list[torch.Tensor]]:
    """What stage II's objective says of ``batch``, and the gradient that it gives."""
    torch.manual_seed(0)
    assert recipe.idm is not None
    objective = IdmObjective(build_mola(recipe.model), recipe.idm)
    draws = Draws(seed=0, places=range(len(batch["mask"])), device=torch.device("cpu"))
    width, backbone = len(batch["mask"]), objective.model.backbone
    shape = (width, len(recipe.io.views), 2, *backbone.feature_shape)  # type: ignore[union-attr]
    generator = torch.Generator().manual_seed(1)
    features = {"true_features": torch.randn(*shape, generator=generator)}
    said = objective(batch | features, draws, Whole(sums={"transitions": batch["mask"].sum()}))
    said["loss"].backward()
    trained: Sequence[torch.nn.Parameter] = [one for one in objective.parameters() if one.grad is not None]
    return {name: value.detach() for name, value in said.items()}, [one.grad for one in trained if one.grad is not None]


def half_known(row: int) -> np.ndarray:
    depth = ramp(row)
    depth[:3] = 0
    return depth


def test_what_nobody_knows_is_not_learned(blobs: Path) -> None:
    """Depth 0 is "unknown", and a point that is hidden later has not stood still."""
    write_depth(blobs, half_known, unit="metres")
    recipe = small("idm.imagined_share=0.0")
    batch = transitions(blobs, recipe).batch([0, 3, 7])
    assert not batch["depth_mask"][:, :, :3].any()
    assert batch["depth_mask"][:, :, 3:].all()
    assert batch["flow_mask"].sum() == 3 * GRID[1]
    said, gradients = losses(recipe, batch)
    other = batch | {
        "depth": torch.where(batch["depth_mask"], batch["depth"], 77.0),
        "flow": torch.where(batch["flow_mask"][..., None], batch["flow"], -5.0),
    }
    again, same = losses(recipe, other)
    assert {"depth_depth", "flow_flow"} <= said.keys()
    for name, value in said.items():
        assert torch.equal(value, again[name]), name
    assert len(gradients) == len(same) > 0
    assert all(torch.equal(one, two) for one, two in zip(gradients, same, strict=True))


def test_masks_are_enlarged_with_their_labels(blobs: Path) -> None:
    write_depth(blobs, half_known, unit="metres")
    recipe = small("idm.imagined_share=0.0")
    batch = transitions(blobs, recipe).batch([0])
    mixture = recipe.model.mixture
    assert mixture is not None
    known = known_in(batch, size=(HEIGHT, WIDTH))
    assert known["depth"].shape == known["flow"].shape == (1, 1, HEIGHT, WIDTH)
    assert torch.equal(
        known["depth"], targets_in(batch, mixture.decoders, size=(HEIGHT, WIDTH))["depth"][:, :, 0] > 0.0
    )


def test_labels_of_unlike_sizes_are_refused_with_the_way_out(blobs: Path, tmp_path: Path) -> None:
    write_depth(blobs, ramp, unit="metres")
    other = write_blobs(tmp_path / "other", episodes=2, contract=ONE_CAMERA)
    labels = LabelFolder(other, teacher="twin")
    for episode in range(2):
        cut = {
            name: array[:, ::2] if array.shape[1:3] == GRID else array for name, array in labels.read(episode).items()
        }
        labels.write(episode, cut)
    info = labels.info().model_dump(mode="json")
    info["cameras"]["third_person"]["height"] = GRID[0] // 2
    (labels.path / "info.json").write_text(json.dumps(info), encoding="utf-8")
    joined, _ = mixed([transitions(path, small()) for path in (blobs, other)], [1.0, 1.0])
    with pytest.raises(
        DataError, match=r"depth is \[1, 3, 10\] in dataset 1 .* \[1, 6, 10\] in one before; .* --view and one --stride"
    ):
        joined.batch([0, len(joined) - 1])
