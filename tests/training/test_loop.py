import contextlib
import dataclasses
import json
import multiprocessing
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from training_fakes import Line, LineSource, StopAfter, line_stage, stage_spec, surroundings

from mola_core.contracts.errors import ConfigError
from mola_core.training.checkpoint import CheckpointError, load_checkpoint, read_weights
from mola_core.training.checks import TooLittleMemoryError
from mola_core.training.loop import NonFiniteLossError, StoppedError, run_stage
from mola_core.training.metrics import read_metrics
from mola_core.training.optimization import make_optimizer
from mola_core.training.recipe import OptimizerSpec
from mola_core.training.retention import steps_kept

TIMED = {"samples_per_s"}


def curve(folder: Path) -> list[dict]:
    """What must be equal to the last bit."""
    return [{name: value for name, value in line.items() if name not in TIMED} for line in read_metrics(folder)]


def test_training_learns_and_leaves_a_complete_checkpoint(tmp_path: Path) -> None:
    stage = line_stage(spec=stage_spec(steps=60))
    final = load_checkpoint(run_stage(stage, surroundings(tmp_path)))
    lines = [line for line in read_metrics(tmp_path) if line["split"] == "training"]
    assert lines[-1]["loss"] < 0.3 * lines[0]["loss"]
    assert lines[-1]["twice"] == pytest.approx(2 * lines[-1]["loss"])
    assert (final.stage, final.step) == ("line", 60)
    assert final.metrics["loss"] > 0.0
    assert set(read_weights(final)) == set(stage.objective.state_dict())


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path: Path, accumulate: int) -> None:
    spec = stage_spec(accumulate=accumulate, log_every=3, precision="bf16")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run_stage(line_stage(spec=spec, objective=Line(dropout=0.3)), surroundings(whole))
    for _ in range(3):  # 3 steps at a time, in step with neither logging nor saving
        with pytest.raises(StoppedError, match="run again to go on"):
            run_stage(line_stage(spec=spec, objective=Line(dropout=0.3)), surroundings(parts, stop=StopAfter(3)))
    run_stage(line_stage(spec=spec, objective=Line(dropout=0.3)), surroundings(parts))
    assert curve(parts) == curve(whole)
    for name in ("weights.safetensors", "training.safetensors"):
        last = f"step-{12:08d}/{name}"
        assert (parts / last).read_bytes() == (whole / last).read_bytes()


def test_a_killed_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    spec = stage_spec(steps=40, save_every=4)
    run_stage(line_stage(spec=spec), surroundings(whole))

    class Slow(LineSource):
        def batch(self, indices):
            time.sleep(0.02)
            return super().batch(indices)

    child = multiprocessing.get_context("fork").Process(
        target=lambda: run_stage(line_stage(spec=spec, source=Slow()), surroundings(parts))
    )
    child.start()
    while not steps_kept(parts):
        assert child.is_alive()
        time.sleep(0.01)
    child.kill()
    child.join()
    assert 0 < steps_kept(parts)[-1] < 40
    run_stage(line_stage(spec=spec), surroundings(parts))
    assert curve(parts) == curve(whole)


def test_every_sample_is_seen_once_before_any_is_seen_twice_and_resuming_skips_none(tmp_path: Path) -> None:
    spec = stage_spec(steps=8, batch_size=8, validate_every=100, ema_decay=None)
    seen: list[int] = []
    for _ in range(3):
        stage = line_stage(spec=spec)
        with contextlib.suppress(StoppedError):
            run_stage(dataclasses.replace(stage, validation=None), surroundings(tmp_path, stop=StopAfter(3)))
        seen += stage.objective.seen
    assert sorted(seen) == list(range(64))


def test_only_the_last_and_the_best_checkpoints_stay(tmp_path: Path) -> None:
    run_stage(line_stage(spec=stage_spec(steps=20, save_every=3, keep_last=2)), surroundings(tmp_path))
    assert steps_kept(tmp_path) == [18, 20]
    best = load_checkpoint(tmp_path / "best")
    validation = [line["loss"] for line in read_metrics(tmp_path) if line["split"] == "validation"]
    assert best.metrics["loss"] == min(validation)


def test_what_is_frozen_keeps_its_weights_and_stays_in_evaluation_mode(tmp_path: Path) -> None:
    stage = line_stage()
    before = {name: value.clone() for name, value in stage.objective.state_dict().items()}
    run_stage(stage, surroundings(tmp_path))
    after = stage.objective.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"model.body.weight", "model.body.bias", "model.head.weight", "model.head.bias"}
    assert not stage.objective.model["frozen"].training


def test_freezing_what_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"nothing to freeze under \['model.nose'\]"):
        dataclasses.replace(line_stage(), frozen=("model.nose",))


def test_a_loss_that_is_not_finite_stops_with_the_batch_saved(tmp_path: Path) -> None:
    stage = line_stage(source=LineSource(64, bad=17))
    with pytest.raises(NonFiniteLossError, match=r"stage line met losses .*nan.* in step \d+; the batch is saved in"):
        run_stage(stage, surroundings(tmp_path))
    (saved,) = (tmp_path / "non-finite").iterdir()
    batch = load_file(saved)
    assert batch["0/index"][torch.isnan(batch["0/x"]).any(dim=1)].tolist() == [17]


def test_a_gradient_that_is_not_finite_stops_as_well(tmp_path: Path) -> None:
    class Root(Line):
        def forward(self, batch, draws, whole):
            losses = super().forward(batch, draws, whole)
            zero = self.model["head"].bias.sum() * 0.0
            return {"loss": losses["loss"] + zero.abs().sqrt()}  # infinite slope at zero

    with pytest.raises(NonFiniteLossError, match="a gradient of length nan"):
        run_stage(line_stage(objective=Root()), surroundings(tmp_path))


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        run_stage(line_stage(), surroundings(tmp_path, stop=StopAfter(3)))
    wider = Line()
    wider.model["body"], wider.model["frozen"] = torch.nn.Linear(4, 9), torch.nn.Linear(4, 9)
    wider.model["head"] = torch.nn.Linear(9, 1)
    with pytest.raises(CheckpointError, match="of another architecture than its model: 5 of another shape"):
        run_stage(line_stage(objective=wider), surroundings(tmp_path))


def test_a_stage_that_cannot_fit_is_refused_before_the_first_step(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("mola_core.training.checks.free_memory", lambda device: 100)
    with pytest.raises(TooLittleMemoryError, match=r"stage line needs .* GiB .* use a smaller recipe"):
        run_stage(line_stage(), surroundings(tmp_path))


def test_a_batch_that_does_not_divide_is_refused(tmp_path: Path) -> None:
    world = dataclasses.replace(surroundings(tmp_path).world, size=3)
    with pytest.raises(ConfigError, match="batch_size 8 is not a multiple of 3 processes"):
        run_stage(line_stage(), surroundings(tmp_path, world=world))


def test_a_finished_stage_is_not_run_again(tmp_path: Path) -> None:
    run_stage(line_stage(), surroundings(tmp_path))
    stage = line_stage()
    run_stage(stage, surroundings(tmp_path))
    assert stage.objective.seen == []


def test_half_precision_scales_its_loss_and_resumes_the_scale(tmp_path: Path) -> None:
    spec = stage_spec(precision="fp16", steps=6)
    with pytest.raises(StoppedError):
        run_stage(line_stage(spec=spec), surroundings(tmp_path, stop=StopAfter(3)))
    numbers = json.loads((tmp_path / f"step-{3:08d}" / "training.json").read_text())
    assert numbers["scaler"]["scale"] > 1.0
    run_stage(line_stage(spec=spec), surroundings(tmp_path))


def test_accumulated_parts_give_the_loss_of_the_whole_batch(tmp_path: Path) -> None:
    curves = []
    for accumulate in (1, 4):
        folder = tmp_path / str(accumulate)
        run_stage(line_stage(spec=stage_spec(accumulate=accumulate)), surroundings(folder))
        curves.append([line["loss"] for line in read_metrics(folder)])
    assert curves[0] == pytest.approx(curves[1], rel=1e-5)


def test_weight_decay_spares_biases() -> None:
    parameters = dict(Line().named_parameters())
    optimizer = make_optimizer(parameters, OptimizerSpec(learning_rate=1.0, weight_decay=0.5))
    decays = {
        parameter.ndim: group["weight_decay"] for group in optimizer.param_groups for parameter in group["params"]
    }
    assert decays == {2: 0.5, 1: 0.0}


class Counted(torch.nn.Linear):
    passes = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        Counted.passes += 1
        return super().forward(x)


class Deep(Line):
    """With blocks that can be recomputed."""

    def __init__(self) -> None:
        super().__init__()
        self.model["blocks"] = torch.nn.ModuleList(Counted(8, 8) for _ in range(2))

    def forward(self, batch, draws, whole):
        hidden = self.model["body"](batch["x"])
        for block in self.model["blocks"]:
            hidden = torch.tanh(block(hidden))
        return {"loss": (self.model["head"](hidden) - batch["y"]).square().mean()}


def test_recomputed_activations_change_no_loss(tmp_path: Path) -> None:
    curves, passes = [], []
    for recomputed in (False, True):
        folder, objective, before = tmp_path / str(recomputed), Deep(), Counted.passes
        run_stage(
            line_stage(spec=stage_spec(activation_checkpointing=recomputed), objective=objective), surroundings(folder)
        )
        curves.append([line["loss"] for line in read_metrics(folder)])
        passes.append(Counted.passes - before)
    assert curves[0] == curves[1]
    assert passes[1] > passes[0]  # it really is computed again


class FastClock:
    """A second passes whenever somebody looks."""

    def __init__(self) -> None:
        self._now_ns = 0

    def monotonic_ns(self) -> int:
        self._now_ns += 1_000_000_000
        return self._now_ns


def test_a_stage_with_little_time_ends_early_with_its_schedule_run_through(tmp_path: Path) -> None:
    stage = line_stage(spec=stage_spec(steps=1000, log_every=1))
    around = dataclasses.replace(surroundings(tmp_path), within_s=30.0, clock=FastClock())
    final = load_checkpoint(run_stage(stage, around))
    rates = [line["learning_rate"] for line in read_metrics(tmp_path) if line["split"] == "training"]
    assert 3 < final.step < 30
    assert len(rates) == final.step
    assert rates[-1] < 0.2 * max(rates)
    assert run_stage(stage, around) == final.path  # and is not begun again


def test_enough_time_changes_nothing(tmp_path: Path) -> None:
    run_stage(line_stage(spec=stage_spec(steps=12)), surroundings(tmp_path / "plain"))
    around = dataclasses.replace(surroundings(tmp_path / "within"), within_s=3600.0)
    assert load_checkpoint(run_stage(line_stage(spec=stage_spec(steps=12)), around)).step == 12
    assert curve(tmp_path / "within") == curve(tmp_path / "plain")
