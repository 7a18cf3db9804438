"""Two processes over gloo compute what one does."""

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from training_fakes import Line, LineSource, StopAfter, line_stage, stage_spec, surroundings
from two_processes import in_two_processes

from mola_core.contracts.errors import ConfigError
from mola_core.training.caches import CacheSpec, cached_array
from mola_core.training.checkpoint import load_checkpoint
from mola_core.training.distributed import World, join_world
from mola_core.training.loop import NonFiniteLossError, StoppedError, run_stage
from mola_core.training.metrics import read_metrics
from mola_core.training.progress import SilentReporter


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in read_metrics(folder)]


@pytest.mark.parametrize("spread", ["replicate", "shard"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_processes_compute_the_losses_of_one(tmp_path: Path, spread: str, accumulate: int) -> None:
    spec = stage_spec(accumulate=accumulate, ema_decay=0.9)
    run_stage(line_stage(spec=spec), surroundings(tmp_path / "one"))
    codes = in_two_processes(
        lambda world: run_stage(line_stage(spec=spec), surroundings(tmp_path / "two", world=world)) and None,
        spread=spread,
    )
    assert codes == [0, 0]
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    one, two = (load_file(tmp_path / name / "final" / "weights.safetensors") for name in ("one", "two"))
    for name, value in one.items():
        assert torch.allclose(two[name], value, rtol=1e-4, atol=1e-6), name


class Convolved(Line):
    """With a kernel, which lies channels last unless it is sharded."""

    def __init__(self) -> None:
        super().__init__()
        self.model["kernel"] = torch.nn.Conv2d(2, 2, 3, padding=1)

    def forward(self, batch, draws, whole):
        x = batch["x"].reshape(-1, 1, 2, 2).repeat(1, 2, 1, 1)
        return super().forward(batch | {"x": self.model["kernel"](x)[:, 0].flatten(1)}, draws, whole)


@pytest.mark.parametrize("spread", ["replicate", "shard"])
def test_kernels_are_spread_as_well(tmp_path: Path, spread: str) -> None:
    run_stage(line_stage(objective=Convolved()), surroundings(tmp_path / "one"))

    def work(world: World) -> None:
        run_stage(line_stage(objective=Convolved()), surroundings(tmp_path / "two", world=world))

    assert in_two_processes(work, spread=spread) == [0, 0]
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)


@pytest.mark.parametrize("spread", ["replicate", "shard"])
def test_two_processes_stop_together_and_go_on_to_the_same_bits(tmp_path: Path, spread: str) -> None:
    def stopped(world: World) -> None:
        stop = StopAfter(4 if world.rank == 1 else 1000)  # only one of them is asked
        with pytest.raises(StoppedError):
            run_stage(line_stage(), surroundings(tmp_path / "parts", world=world, stop=stop))

    assert in_two_processes(stopped, spread=spread) == [0, 0]
    for name in ("parts", "whole"):
        codes = in_two_processes(
            lambda world, name=name: run_stage(line_stage(), surroundings(tmp_path / name, world=world)) and None,
            spread=spread,
        )
        assert codes == [0, 0]
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")


class UnevenClock:
    """Time passes twice as fast in one of the processes; a second whenever somebody looks."""

    def __init__(self, *, rank: int) -> None:
        self._now_ns, self._tick_ns = 0, (1 + rank) * 1_000_000_000

    def monotonic_ns(self) -> int:
        self._now_ns += self._tick_ns
        return self._now_ns


def test_two_processes_agree_on_the_time_that_is_left(tmp_path: Path) -> None:
    def work(world: World) -> None:
        around = surroundings(tmp_path, world=world)
        around = dataclasses.replace(around, within_s=30.0, clock=UnevenClock(rank=world.rank))
        run_stage(line_stage(spec=stage_spec(steps=1000, log_every=1)), around)

    assert in_two_processes(work) == [0, 0]
    assert 3 < load_checkpoint(tmp_path / "final").step < 30
    rates = [line["learning_rate"] for line in read_metrics(tmp_path) if line["split"] == "training"]
    assert rates[-1] < 0.2 * max(rates)


def test_a_bad_loss_in_one_process_stops_both(tmp_path: Path) -> None:
    def work(world: World) -> None:
        with pytest.raises(NonFiniteLossError):
            run_stage(line_stage(source=LineSource(64, bad=17)), surroundings(tmp_path, world=world))

    assert in_two_processes(work) == [0, 0]
    assert list((tmp_path / "non-finite").iterdir())


def test_two_processes_fill_one_cache(tmp_path: Path) -> None:
    spec = CacheSpec(what="squares", made_from="x", shape=(100, 2))

    def work(world: World) -> None:
        array = cached_array(
            spec,
            root=tmp_path,
            compute=lambda rows: (rows[:, None] ** 2 % 97).repeat(2, axis=1),
            world=world,
            reporter=SilentReporter(),
        )
        assert (array[:, 0] == [row**2 % 97 for row in range(100)]).all()

    assert in_two_processes(work) == [0, 0]


def test_one_rank_alone_is_no_world() -> None:
    with join_world(device="cpu") as world:
        assert (world.rank, world.size, world.is_main) == (0, 1, True)


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="device 'tpu' is not known"), join_world(device="tpu"):
        pass
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="torch sees no GPU here"), join_world(device="cuda"):
            pass
