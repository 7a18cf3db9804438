"""Teachers: the real classes with tiny random weights, and a made-up tracker in place of CoTracker's package."""

import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from mola_core.cli.dispatch import main
from mola_core.contracts.errors import ConfigError
from mola_core.contracts.io_spec import CameraView, DataContract
from mola_core.data.errors import DataError
from mola_core.data.labels.store import LabelFolder
from mola_core.data.lerobot.writer import LeRobotWriter
from mola_core.data.opening import open_episodes, open_samples
from mola_core.data.sample import WindowSpec
from mola_core.teachers.cotracker import load_weights
from mola_core.teachers.depth_anything import DepthAnythingTeacher
from mola_core.teachers.labelling import Part, label_dataset
from mola_core.teachers.protocol import EpisodeToLabel, TeacherError, TeacherSettings, open_teacher, teacher_names
from mola_core.teachers.sam2 import Sam2Teacher

CONTRACT = DataContract(cameras=("wrist",), period_ns=100_000_000)
LENGTH = 5


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three episodes of 64 × 32 pictures in which a bright square walks four pixels a row to the right."""
    path = tmp_path_factory.mktemp("teachers") / "demo"
    with LeRobotWriter(path, contract=CONTRACT, cameras={"wrist": (64, 32)}) as writer:
        for episode in range(3):
            for row in range(LENGTH):
                picture = np.full((32, 64, 3), 40 + 10 * episode, np.uint8)
                picture[8:24, 8 + 4 * row : 24 + 4 * row] = 220
                writer.add_row(state=np.zeros(13), action=np.zeros(7), images={"wrist": picture})
            writer.end_episode("watch the square")
        writer.finalize()
    return path


def settings(dataset: Path, **changes: object) -> TeacherSettings:
    given = {"dataset": dataset, "cameras": ("wrist",), "view": (64, 32), "stride": 4, "batch": 2, **changes}
    return TeacherSettings(**given)  # type: ignore[arg-type]


def tiny_depth_anything() -> torch.nn.Module:
    from transformers import (  # noqa: PLC0415  # seconds to import
        DepthAnythingConfig,
        DepthAnythingForDepthEstimation,
        Dinov2Config,
    )

    backbone = Dinov2Config(
        image_size=28,
        patch_size=14,
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone.to_dict(),
        reassemble_hidden_size=32,
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=8,
        head_hidden_size=8,
    )
    torch.manual_seed(0)
    return DepthAnythingForDepthEstimation(config).eval()


def tiny_sam2() -> torch.nn.Module:
    from transformers import Sam2Config, Sam2HieraDetConfig, Sam2Model, Sam2VisionConfig  # noqa: PLC0415  # seconds to import

    hiera = Sam2HieraDetConfig(
        image_size=[128, 128],
        hidden_size=16,
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[16, 32, 64, 128],
        num_attention_heads_per_stage=[1, 2, 2, 4],
        window_size_per_stage=[8, 4, 4, 4],
        global_attention_blocks=[3],
        window_positional_embedding_background_size=[4, 4],
    )
    vision = Sam2VisionConfig(
        backbone_config=hiera,
        backbone_channel_list=[128, 64, 32, 16],
        backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]],
        fpn_hidden_size=32,
    )
    config = Sam2Config(
        vision_config=vision,
        prompt_encoder_config={"hidden_size": 32, "image_size": 128, "mask_input_channels": 8},
        mask_decoder_config={
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "mlp_dim": 32,
            "iou_head_hidden_dim": 32,
        },
    )
    torch.manual_seed(0)
    return Sam2Model(config).eval()


def episode_of(views: np.ndarray) -> EpisodeToLabel:
    return EpisodeToLabel(
        index=0,
        num_rows=len(views),
        instruction="",
        meta={},
        views=lambda _camera: views,
        state=lambda: np.zeros((len(views), 0)),
    )


def test_depth_anything_labels_every_cell(dataset: Path) -> None:
    teacher = DepthAnythingTeacher(tiny_depth_anything(), settings(dataset), short_side=28)  # type: ignore[arg-type]
    views = open_episodes(dataset).frames(0, "wrist")
    arrays = teacher.label(episode_of(views))
    depth = arrays["depth/wrist"]
    assert (depth.shape, depth.dtype) == ((LENGTH, 8, 16), np.uint16)
    assert depth.min() >= 1, "0 would say: unknown"
    assert depth.max() == np.iinfo(np.uint16).max
    assert np.unique(depth[0]).size > 10, "not one flat number"


def test_batches_do_not_change_labels(dataset: Path) -> None:
    model, views = tiny_depth_anything(), open_episodes(dataset).frames(1, "wrist")
    one, all_ = (
        DepthAnythingTeacher(model, settings(dataset, batch=size), short_side=28).label(episode_of(views))[
            "depth/wrist"
        ]  # type: ignore[arg-type]
        for size in (1, 8)
    )
    assert np.abs(one.astype(int) - all_.astype(int)).max() <= 2


def test_sam2_labels_are_its_features(dataset: Path) -> None:
    model = tiny_sam2()
    views = open_episodes(dataset).frames(0, "wrist")
    arrays = Sam2Teacher(model, settings(dataset, stride=8)).label(episode_of(views))  # type: ignore[arg-type]
    counts, scale = arrays["semantic/wrist"], arrays["semantic_scale/wrist"]
    assert (counts.shape, counts.dtype, scale.shape) == ((LENGTH, 4, 8, 32), np.int8, (LENGTH, 32))
    pixels = torch.from_numpy(views[:1]).permute(0, 3, 1, 2).float() / 255
    pixels = torch.nn.functional.interpolate(
        pixels, size=(128, 128), mode="bicubic", align_corners=False, antialias=True
    )
    pixels = (pixels - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(
        3, 1, 1
    )
    with torch.no_grad():
        features = model.get_image_embeddings(pixels)[-1]  # type: ignore[operator]
    pooled = torch.nn.functional.interpolate(
        features, size=(4, 8), mode="bilinear", align_corners=False, antialias=True
    )
    want = pooled[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(counts[0] * scale[0], want, atol=float(np.abs(want).max()) / 100)


def test_weights_are_loaded_from_a_folder(dataset: Path, tmp_path: Path) -> None:
    tiny_depth_anything().save_pretrained(tmp_path / "weights")  # type: ignore[operator]
    teacher = open_teacher("depth_anything_v2", settings(dataset, weights=str(tmp_path / "weights")))
    assert teacher.info().labels == ("depth",)


def test_weights_of_another_model_are_refused(dataset: Path, tmp_path: Path) -> None:
    tiny_depth_anything().save_pretrained(tmp_path / "weights")  # type: ignore[operator]
    config = json.loads((tmp_path / "weights" / "config.json").read_text(encoding="utf-8"))
    config["fusion_hidden_size"] = 16
    (tmp_path / "weights" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(TeacherError, match=str(tmp_path / "weights")):
        open_teacher("depth_anything_v2", settings(dataset, weights=str(tmp_path / "weights")))


@pytest.mark.parametrize("name", ["depth_anything_v2", "sam2"])
def test_missing_weights_are_named(dataset: Path, name: str, tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="needs weights: --weights PATH"):
        open_teacher(name, settings(dataset))
    with pytest.raises(TeacherError, match="no weights at"):
        open_teacher(name, settings(dataset, weights=str(tmp_path / "absent")))


def test_teachers_are_found_by_name(dataset: Path) -> None:
    assert {"cotracker3", "depth_anything_v2", "sam2", "twin"} <= set(teacher_names())
    with pytest.raises(ConfigError, match="there is no teacher 'oracle'; there are cotracker3"):
        open_teacher("oracle", settings(dataset))


# --- CoTracker ---


class FakeTracker(torch.nn.Module):
    """Says that everything walks four pixels a frame to the right, and that what leaves the picture is no longer seen."""

    def __init__(self, *, checkpoint: None, offline: bool, v2: bool, window_len: int) -> None:
        super().__init__()
        assert (checkpoint, offline, v2, window_len) == (None, True, False, 60)
        self.model = torch.nn.Linear(2, 1)

    def forward(self, video: torch.Tensor, *, queries: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        assert (video.shape[0], *video.shape[2:]) == (1, 3, 32, 64)
        assert float(video.max()) > 100, "0..255, as CoTracker expects"
        points = queries[:, :, 1:]
        tracks = torch.stack([points + torch.tensor([4.0 * at, 0.0]) for at in range(video.shape[1])], dim=1)
        return tracks, tracks[..., 0] < 63.5


@pytest.fixture
def cotracker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A stand-in for the package; the path of weights that fit it."""
    package, module = ModuleType("cotracker"), ModuleType("cotracker.predictor")
    module.CoTrackerPredictor = FakeTracker  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cotracker", package)
    monkeypatch.setitem(sys.modules, "cotracker.predictor", module)
    torch.save(torch.nn.Linear(2, 1).state_dict(), tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


def test_cotracker_labels_reach_the_sample(dataset: Path, cotracker: Path, tmp_path: Path) -> None:
    given = settings(dataset, weights=str(cotracker), flow_offsets=(1, 2))
    label_dataset(open_episodes(dataset), open_teacher("cotracker3", given), view=(64, 32))
    views = (CameraView(camera="wrist", width=64, height=32),)
    window = WindowSpec(views=views, offsets=(0, 2), horizon=0, labels=("flow",))
    source = open_samples(dataset, window, label_teacher="cotracker3", cache_folder=tmp_path, quiet=True)
    labels = source.sample(0).labels
    assert labels["flow"].shape == (1, 1, 8, 16, 2)
    np.testing.assert_allclose(labels["flow"][..., 0], 8 / 64, atol=1e-4)
    assert labels["flow_mask"][0, 0, :, :14].all()
    assert not labels["flow_mask"][0, 0, :, 14:].any()
    arrays = LabelFolder(dataset, teacher="cotracker3").read(0)
    assert not arrays["flow_known+2/wrist"][LENGTH - 2 :].any(), "the last rows have nowhere to go"


def test_cotracker_needs_offsets_package_and_weights(
    dataset: Path, cotracker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TeacherError, match="--offsets 4,8"):
        open_teacher("cotracker3", settings(dataset, weights=str(cotracker)))
    with pytest.raises(TeacherError, match="needs weights"):
        open_teacher("cotracker3", settings(dataset, flow_offsets=(2,)))
    monkeypatch.setitem(sys.modules, "cotracker.predictor", None)
    with pytest.raises(TeacherError, match="cotracker is not installed"):
        open_teacher("cotracker3", settings(dataset, weights=str(cotracker), flow_offsets=(2,)))


class Attack:
    """What a stranger might put into a file of weights."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('pwned')",)


def test_foreign_weights_cannot_run_code(tmp_path: Path) -> None:
    torch.save({"model": Attack()}, tmp_path / "attack.pth")
    with pytest.raises(TeacherError, match=r"attack\.pth hold more than tensors"):
        load_weights(torch.nn.Linear(2, 1), tmp_path / "attack.pth")
    torch.save({"model": torch.nn.Linear(3, 1).state_dict()}, tmp_path / "other.pth")
    with pytest.raises(TeacherError, match=r"other\.pth cannot be used"):
        load_weights(torch.nn.Linear(2, 1), tmp_path / "other.pth")
    with pytest.raises(TeacherError, match=r"absent\.pth cannot be used"):
        load_weights(torch.nn.Linear(2, 1), tmp_path / "absent.pth")


# --- over a dataset ---


class CountingTeacher:
    """Says the row's mean, and notes what it was asked."""

    name = "counting"

    def __init__(self, dataset: Path) -> None:
        self.asked: list[int] = []
        self._inner = DepthAnythingTeacher(torch.nn.Module(), settings(dataset))  # type: ignore[arg-type]

    def info(self) -> object:
        return self._inner.info()

    def label(self, episode: EpisodeToLabel) -> dict[str, np.ndarray]:
        self.asked.append(episode.index)
        if episode.index == 1 and len(self.asked) == 2:
            raise KeyboardInterrupt
        views = episode.views("wrist")
        assert views.shape == (LENGTH, 32, 32, 3), "cropped to the view's aspect, not scaled"
        return {"depth/wrist": np.ones((LENGTH, 8, 8), np.uint16), "depth_scale/wrist": np.ones(LENGTH, np.float32)}


def test_labelling_goes_on_where_it_stopped(dataset: Path) -> None:
    source, teacher = open_episodes(dataset), CountingTeacher(dataset)
    with pytest.raises(KeyboardInterrupt):
        label_dataset(source, teacher, view=(32, 32))  # type: ignore[arg-type]
    assert label_dataset(source, teacher, view=(32, 32)) == 2  # type: ignore[arg-type]
    assert teacher.asked == [0, 1, 1, 2]
    assert label_dataset(source, teacher, view=(32, 32)) == 0  # type: ignore[arg-type]


def test_work_is_shared_by_parts(dataset: Path) -> None:
    source, teacher = open_episodes(dataset), CountingTeacher(dataset)
    teacher.name = "sharing"
    label_dataset(source, teacher, view=(32, 32), part=Part(1, 2))  # type: ignore[arg-type]
    assert teacher.asked == [1]
    with pytest.raises(ConfigError, match="part 2/2 does not exist"):
        Part(2, 2)


def test_answer_of_the_wrong_length_is_refused(dataset: Path) -> None:
    class Short(CountingTeacher):
        name = "short"

        def label(self, episode: EpisodeToLabel) -> dict[str, np.ndarray]:
            return {"depth/wrist": np.ones((2, 8, 8), np.uint16)}

    with pytest.raises(DataError, match="gave 2 rows of depth/wrist for episode 0 of 5"):
        label_dataset(open_episodes(dataset), Short(dataset), view=(32, 32))  # type: ignore[arg-type]
    assert not LabelFolder(dataset, teacher="short").has(0)


def test_command_labels_a_dataset(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_sam2().save_pretrained(tmp_path / "weights")  # type: ignore[operator]
    words = [
        "data",
        "label",
        str(dataset),
        "--teacher",
        "sam2",
        "--weights",
        str(tmp_path / "weights"),
        "--stride",
        "8",
    ]
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["figures"]["labelled"] == 3
    assert main(words) == 0
    assert "0 episodes labelled by sam2, 3 were before" in capsys.readouterr().out
    assert main([*words[:-1], "4"]) == 2
    assert "made otherwise" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--stride", "5"], "must divide the view of 64x32"),
        (["--view", "big"], "write it as 160x96"),
        (["--part", "1"], "write it as 0/4"),
        (["--offsets", "a"], "write them as 4,8"),
        (["--device", "abacus", "--weights", "WEIGHTS"], "--device abacus cannot be used"),
    ],
)
def test_bad_arguments_are_one_line(
    words: list[str], message: str, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "WEIGHTS" in words:
        tiny_depth_anything().save_pretrained(tmp_path / "weights")  # type: ignore[operator]
        words = [str(tmp_path / "weights") if word == "WEIGHTS" else word for word in words]
    assert main(["data", "label", str(dataset), "--teacher", "depth_anything_v2", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
