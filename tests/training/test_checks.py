"""What would fail after hours is refused at once, by name."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from training_fakes import ONE, Line, line_stage, stage_spec, surroundings

from mola_core.contracts.errors import ConfigError, MolaError
from mola_core.nets.codebook import Codebook
from mola_core.nets.config import CodebookConfig
from mola_core.training.caches import CacheSpec, cached_array
from mola_core.training.checks import TooLittleMemoryError, require_disk, require_spread
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


def test_threads_that_read_ahead_change_nothing(tmp_path: Path) -> None:
    curves = []
    for workers in (0, 2):
        folder = tmp_path / f"{workers}"
        run_stage(line_stage(), dataclasses.replace(surroundings(folder), workers=workers))
        curves.append([(line["step"], line["split"], line["loss"]) for line in read_metrics(folder)])
    assert curves[0] == curves[1]


def no_memory_of_the_cpu() -> None:
    torch.empty(2**60)


def no_memory_of_python() -> None:
    np.empty(2**53)


def no_memory_of_a_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate much")


@pytest.mark.parametrize("fail", [no_memory_of_the_cpu, no_memory_of_python, no_memory_of_a_gpu])
def test_memory_that_runs_out_on_the_way_is_one_sentence_with_the_way_out(
    fail: Callable[[], None], tmp_path: Path
) -> None:
    class Large(Line):
        def forward(self, batch, draws, whole):
            fail()
            return super().forward(batch, draws, whole)

    said = (
        r"stage line ran out of memory on cpu with 4 samples at a time; raise line\.accumulate, or set line\.activation"
    )
    with pytest.raises(TooLittleMemoryError, match=said) as caught:
        run_stage(line_stage(objective=Large(), spec=stage_spec(accumulate=2)), surroundings(tmp_path))
    assert "\n" not in str(caught.value)


def test_other_errors_of_torch_stay_what_they_are(tmp_path: Path) -> None:
    class Wrong(Line):
        def forward(self, batch, draws, whole):
            return super().forward({**batch, "x": batch["x"][:, :3]}, draws, whole)

    with pytest.raises(RuntimeError, match="must match the size of tensor"):
        run_stage(line_stage(objective=Wrong()), surroundings(tmp_path))
