"""What would fail after hours is refused at once, by name."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn
from training_fakes import ONE, line_stage, surroundings

from mola_core.contracts.errors import ConfigError, MolaError
from mola_core.nets.codebook import Codebook
from mola_core.nets.config import CodebookConfig
from mola_core.training.caches import CacheSpec, cached_array
from mola_core.training.checks import require_disk, require_spread
from mola_core.training.distributed import World
from mola_core.training.loop import run_stage
from mola_core.training.metrics import read_metrics
from mola_core.training.progress import SilentReporter

SHARDED = World(rank=0, size=2, device=torch.device("cpu"), spread="shard")


def test_a_cache_that_does_not_fit_on_the_disk_is_refused_before_it_is_begun(tmp_path: Path) -> None:
    require_disk(tmp_path, 1024, what="a small thing")
    with pytest.raises(MolaError, match=r"a large thing needs 8388608\.0 GiB, the disk of .* choose another --out"):
        require_disk(tmp_path, 2**53, what="a large thing")
    spec = CacheSpec(what="features", made_from="nothing", shape=(2**40, 2**12))
    with pytest.raises(MolaError, match=r"the cache of features needs .* set policy\.cache_features=false"):
        cached_array(spec, root=tmp_path, compute=lambda rows: rows, world=ONE, reporter=SilentReporter())
    assert not list(tmp_path.rglob("*.npy"))


def test_codebooks_that_learn_are_not_sharded() -> None:
    stage = nn.ModuleDict({"mixture": Codebook(CodebookConfig(size=4, width=2))})
    with pytest.raises(
        ConfigError, match=r"stage policy trains mixture, and codebooks cannot be sharded; use --spread"
    ):
        require_spread(stage, SHARDED, stage="policy")
    require_spread(stage, ONE, stage="policy")
    require_spread(stage.requires_grad_(False), SHARDED, stage="policy")


def test_processes_that_read_ahead_change_nothing(tmp_path: Path) -> None:
    curves = []
    for workers in (0, 2):
        folder = tmp_path / f"{workers}"
        run_stage(line_stage(), dataclasses.replace(surroundings(folder), workers=workers))
        curves.append([(line["step"], line["split"], line["loss"]) for line in read_metrics(folder)])
    assert curves[0] == curves[1]
