"""Stage I of the video models that need it: spread over two processes, and with activations computed twice."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from training_fakes import stage_spec, surroundings
from two_processes import in_two_processes

from mola_core.nets.building import build_backbone
from mola_core.nets.config import AutoencoderConfig, BackboneConfig, SmallVideoConfig, SvdConfig
from mola_core.nets.small_unet import Level
from mola_core.training.distributed import Spread, World, blocks_of
from mola_core.training.draws import Draws
from mola_core.training.loop import run_stage
from mola_core.training.metrics import read_metrics
from mola_core.training.naming import all_but
from mola_core.training.order import Share
from mola_core.training.recipe import OptimizerSpec, VideoStage
from mola_core.training.recomputation import recompute_blocks
from mola_core.training.stage import Batch, Stage
from mola_core.training.stage1_video import VideoObjective
from mola_core.training.whole import Whole

FRAMES, WORDS, WIDTH = 2, 5, 16
SVD = SvdConfig(
    height=128,  # 2 x 2 cells at the deepest level: groups of a single number would make rounding large
    width=128,
    num_frames=FRAMES,
    token_width=WIDTH,
    widths=(32, 32, 32, 32),
    heads=(1, 1, 1, 1),
    layers=1,
    vae_widths=(32, 32, 32, 32),
)
SMALL = SmallVideoConfig(
    height=32,
    width=32,
    num_frames=FRAMES,
    num_cameras=2,
    token_width=WIDTH,
    autoencoder=AutoencoderConfig(widths=(8, 16), latent_channels=4),
    widths=(16, 24),
    head_width=8,
    attention_levels=(1,),
    tap_levels=(1, 0),
)
SLOW = OptimizerSpec(learning_rate=1e-4, weight_decay=0.01)
"""Adam's first steps are as long for gradients that are all rounding as for any: long ones would lead apart."""
BACKBONES: dict[str, BackboneConfig] = {"svd": SVD, "small": SMALL}


class Windows:
    """Short films of noise with words; some end early."""

    resident = False

    def __init__(self, side: int) -> None:
        self._side = side

    def __len__(self) -> int:
        return 16

    def batch(self, indices) -> Batch:
        each = [np.random.default_rng(int(index)) for index in indices]
        frames = np.stack([rng.integers(0, 256, (FRAMES, self._side, self._side, 3), np.uint8) for rng in each])
        words = np.stack([rng.normal(size=(WORDS, WIDTH)).astype(np.float32) for rng in each])
        numbers = torch.as_tensor(np.asarray(indices))
        return {
            "frames": torch.from_numpy(frames),
            "mask": torch.arange(FRAMES)[None] <= (numbers % FRAMES)[:, None],
            "camera": numbers % 2,
            "words": torch.from_numpy(words),
            "words_mask": torch.ones(len(each), WORDS, dtype=torch.bool),
            "sentence": torch.from_numpy(words[:, 0]),
        }


class Imagination(nn.Module):
    """As much of a model as stage I asks for."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.backbone = build_backbone(config)
        for parameter in self.backbone.parameters():  # layers that start at zero would hide what lies before them
            parameter.data += 0.02 * torch.randn_like(parameter)


def video_stage(name: str, **changes) -> Stage:
    fields = {"steps": 2, "batch_size": 4, "validate_every": 2, "save_every": 2, "optimizer": SLOW} | changes
    spec = VideoStage(**stage_spec(**fields).model_dump(), cache_latents=False)
    objective, windows = VideoObjective(Imagination(BACKBONES[name]), spec), Windows(BACKBONES[name].height)
    coder = "vae" if name == "svd" else "autoencoder"
    return Stage(
        name="video",
        spec=spec,
        objective=objective,
        frozen=(*all_but(objective, ["model.backbone"]), f"model.backbone.{coder}"),
        training=windows,
        shares=(Share(first=0, size=16, weight=1.0),),
        validation=windows,
        sums=objective.sums,
    )


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in read_metrics(folder)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[float]]:
    """``alone(name)``: the losses of one process that keeps its activations."""
    known: dict[str, list[float]] = {}

    def learned(name: str) -> list[float]:
        if name not in known:
            folder = tmp_path_factory.mktemp(name)
            run_stage(video_stage(name), surroundings(folder))
            known[name] = losses(folder)
        return known[name]

    return learned


@pytest.mark.parametrize("recomputed", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize("spread", ["replicate", "shard"])
@pytest.mark.parametrize("name", BACKBONES)
def test_two_processes_learn_what_one_does(
    name: str, spread: Spread, recomputed: bool, alone: Callable[[str], list[float]], tmp_path: Path
) -> None:
    expected = alone(name)

    def work(world: World) -> None:
        run_stage(video_stage(name, activation_checkpointing=recomputed), surroundings(tmp_path, world=world))

    assert in_two_processes(work, spread=spread) == [0, 0]
    assert losses(tmp_path) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", BACKBONES)
def test_recomputed_activations_change_no_loss(name: str, alone: Callable[[str], list[float]], tmp_path: Path) -> None:
    run_stage(video_stage(name, activation_checkpointing=True), surroundings(tmp_path))
    assert losses(tmp_path) == pytest.approx(alone(name), rel=1e-5)


def test_every_level_of_the_small_unet_is_computed_again() -> None:
    """What is called past a block's own ``forward`` keeps all of its activations."""
    stage = video_stage("small")
    levels = [block for block in blocks_of(stage.objective) if isinstance(block, Level)]
    assert len(levels) == 2 * len(SMALL.widths)
    passes = dict.fromkeys(range(len(levels)), 0)

    def count(_module: nn.Module, _given: object, number: int) -> None:
        passes[number] += 1

    for number, level in enumerate(levels):
        level.residuals[0].register_forward_pre_hook(partial(count, number=number))
    recompute_blocks(stage.objective)
    draws = Draws(seed=1, places=range(2), device=torch.device("cpu"))
    batch = stage.training.batch(range(2))
    stage.objective.train()
    stage.objective(batch, draws, Whole(parts=1, sums=stage.sums(batch, draws)))["loss"].backward()
    assert passes == dict.fromkeys(passes, 2)
