"""The one training loop. Stages differ in what they hand to it (:class:`mola_core.training.stage.Stage`)."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from mola_core.contracts.clock import NS_PER_S, Clock, SystemClock
from mola_core.contracts.errors import MolaError
from mola_core.training.averaging import AveragedWeights
from mola_core.training.batches import on_device, parts_of_steps
from mola_core.training.checkpoint import Checkpoint, load_checkpoint, read_resumable, read_weights, save_checkpoint
from mola_core.training.checks import (
    TooLittleMemoryError,
    ran_out_of_memory,
    require_even_parts,
    require_memory,
    require_spread,
)
from mola_core.training.distributed import World, exchange_gradients, gathered, spread_over, without_exchange
from mola_core.training.draws import Draws, seed_of
from mola_core.training.language import require_encoder
from mola_core.training.metrics import MetricsWriter
from mola_core.training.optimization import autocast_dtype, make_optimizer, make_scaler, set_learning_rate
from mola_core.training.order import SampleOrder
from mola_core.training.pace import Pace
from mola_core.training.progress import Reporter
from mola_core.training.recomputation import recompute_blocks
from mola_core.training.retention import BEST, FINAL, forget_all_but, step_folder, steps_kept
from mola_core.training.schedule import learning_rate_ratio
from mola_core.training.stage import (
    Batch,
    BatchSource,
    Stage,
    num_steps,
    set_training,
    trained_parameters,
    whole_of,
)
from mola_core.training.state import RunningState
from mola_core.training.stopping import StopRequest
from mola_core.training.whole import Whole, summed_up


class NonFiniteLossError(MolaError):
    """A loss or gradient became NaN or infinite; the batch that did it lies on disk."""


class StoppedError(MolaError):
    """Training was asked to stop, and did so with its state saved."""

    exit_code = 130


@dataclass(frozen=True)
class Surroundings:
    """Where and how a stage runs, none of which changes what it computes; but for what :mod:`mola_core.training.draws` names."""

    folder: Path
    """Of this stage."""
    header: Checkpoint
    """What every checkpoint of this stage says, but for path, step and metrics."""
    seed: int
    world: World
    reporter: Reporter
    workers: int = 0
    within_s: float | None = None
    """End the stage after so long, with fewer steps than the recipe's where need be: its schedule then follows the time."""
    stop: StopRequest = dataclasses.field(default_factory=StopRequest)
    clock: Clock = dataclasses.field(default_factory=SystemClock)


def run_stage(stage: Stage, around: Surroundings) -> Path:
    """Train ``stage`` to its end, from where it stopped if it ever began; the folder of its final checkpoint.

    Raises:
        NonFiniteLossError: with the batch saved.
        StoppedError: on request, resumable.
        CheckpointError: what is to be resumed is damaged or of another architecture.
        TooLittleMemoryError: it cannot begin, or ran out of memory on the way.
        MolaError: it cannot begin: a batch that does not divide.
    """
    final = around.folder / FINAL
    if (final / "checkpoint.json").is_file():
        return final
    try:
        return Trainer(stage, around).run()
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
        at_once = stage.spec.batch_size // (around.world.size * stage.spec.accumulate)
        name, said = stage.name.partition("-")[0], (str(error).splitlines() or [type(error).__name__])[0]
        raise TooLittleMemoryError(
            f"stage {stage.name} ran out of memory on {around.world.device} with {at_once} samples at a time; raise "
            f"{name}.accumulate, or set {name}.activation_checkpointing=true: {said}"
        ) from error
    finally:
        around.reporter.end()


class Trainer:
    """One stage in one process."""

    def __init__(self, stage: Stage, around: Surroundings) -> None:
        self.stage, self.around, self.spec, self.world = stage, around, stage.spec, around.world
        self.parts = require_even_parts(stage.spec, around.world, stage=stage.name)
        require_spread(stage.objective, around.world, stage=stage.name)
        require_memory(stage.objective, stage.spec, around.world, stage=stage.name)
        self._seed = seed_of(around.seed, stage.name)
        self._order = SampleOrder(stage.shares, batch_size=self.spec.batch_size, seed=self._seed)
        self.steps = num_steps(stage)
        if self.spec.activation_checkpointing:
            recompute_blocks(stage.objective)
        self._spread = spread_over(self.world, stage.objective)
        parameters = trained_parameters(stage.objective)
        decay = self.spec.ema_decay
        self._state = RunningState(
            objective=stage.objective,
            optimizer=make_optimizer(parameters, self.spec.optimizer),
            scaler=make_scaler(self.spec, self.world.device),
            averages=None if decay is None else AveragedWeights(parameters, decay=decay),
        )
        self._pace = Pace(self.steps, within_s=around.within_s, clock=around.clock)
        self._sums: dict[str, float] = {}
        self._summed = 0
        self._best: float | None = None
        self._metrics: dict[str, float] = {}

    def run(self) -> Path:
        """All steps that are left, then the final checkpoint."""
        first = self._resume()
        self._pace.begin()
        writer = MetricsWriter(self.around.folder, first_step=first) if self.world.is_main else None
        self.around.reporter.begin(self.stage.name, done=first, total=self.steps)
        try:
            done = self._steps_from(first, writer)
        finally:
            if writer is not None:
                writer.close()
        return self._write_final(done)

    def _steps_from(self, first: int, writer: MetricsWriter | None) -> int:
        """How many steps are done in the end: all of them, or as many as the time allows."""
        stream = parts_of_steps(
            self.stage.training,
            order=self._order,
            parts=self.parts,
            rank=self.world.rank,
            first_step=first,
            steps=self.steps,
            workers=0 if self.stage.training.resident else self.around.workers,
            pin_memory=self.world.device.type == "cuda" and not self.stage.training.resident,
        )
        began_ns, began_step = self.around.clock.monotonic_ns(), first
        done = first
        for step, batches in enumerate(stream, start=first):
            stop = self._step(step, batches)
            done = step + 1
            last = self._pace.over(done)
            if done % self.spec.log_every == 0 or last:
                now_ns = self.around.clock.monotonic_ns()
                rate = (done - began_step) * self.spec.batch_size * NS_PER_S / max(1, now_ns - began_ns)
                began_ns, began_step = now_ns, done
                self._log(done, writer, samples_per_s=rate)
            if done % self.spec.validate_every == 0 or last:
                self._validate(done, writer)
            if done % self.spec.save_every == 0 or last or stop:
                self._save(done)
            if (done % self.spec.picture_every == 0 or last) and writer is not None:
                self._show(done, writer)
            if last:
                break
            if stop:
                raise StoppedError(
                    f"stage {self.stage.name} stopped after step {done} of {self.steps}; run again to go on"
                )
        return done

    # --- one step -----------------------------------------------------------------------------------------------------

    def _step(self, step: int, batches: Sequence[Batch]) -> bool:
        """One optimizer step; whether a stop has been asked for anywhere."""
        set_training(self.stage.objective, frozen=self.stage.frozen, training=True)
        at = min(self._pace.at(step), self.steps - 1)
        ratio = learning_rate_ratio(self.spec.schedule, step=at, steps=self.steps)
        set_learning_rate(self._state.optimizer, self.spec.optimizer.learning_rate * ratio)
        self._state.optimizer.zero_grad(set_to_none=True)
        totals: dict[str, Tensor] = {}
        seed = seed_of(self._seed, "training", step)
        draws = self._draws(seed)
        whole = self._whole(batches, draws)
        for part, batch in enumerate(batches):
            torch.manual_seed(seed_of(seed, part, self.world.rank))  # dropout and codebooks
            losses = self._backward(on_device(batch, self.world.device), draws=draws[part], whole=whole, part=part)
            for name, value in losses.items():
                totals[name] = totals.get(name, torch.zeros((), device=value.device)) + value / self.parts.accumulate
        stop = self._account(step, totals, batches)
        self._update(step, batches)
        return stop

    def _draws(self, seed: int) -> list[Draws]:
        """Of every part of this process."""
        places = self.parts.places(rank=self.world.rank)
        return [Draws(seed=seed, places=each, device=self.world.device) for each in places]

    @torch.no_grad()
    def _whole(self, batches: Sequence[Batch], draws: Sequence[Draws]) -> Whole:
        """What every part is told of the whole batch."""
        return summed_up([self.stage.sums(*each) for each in zip(batches, draws, strict=True)], world=self.world)

    def _backward(self, batch: Batch, *, draws: Draws, whole: Whole, part: int) -> dict[str, Tensor]:
        exchange = part == self.parts.accumulate - 1
        exchange_gradients(self._spread, exchange)
        with nullcontext() if exchange else without_exchange(self._spread):
            with self._autocast():
                losses = self._spread(batch, draws, whole)
            self._state.scaler.scale(losses["loss"] / self.parts.accumulate).backward()
        return {name: value.detach().float() for name, value in losses.items()}

    def _account(self, step: int, totals: Mapping[str, Tensor], batches: Sequence[Batch]) -> bool:
        """Add the step's losses to the sums; all processes learn of a bad one, of a wish to stop, and of the time."""
        names = sorted(totals)
        own = torch.tensor([self._pace.spent_s(), float(self.around.stop.requested)], device=self.world.device)
        row = self.world.mean(torch.cat([torch.stack([totals[name] for name in names]), own]))
        values = dict(zip(names, row[:-2].tolist(), strict=True))
        self._pace.agree(float(row[-2]))
        if not bool(torch.isfinite(row).all()):
            self._refuse(step, f"losses {values}", batches)
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._summed += 1
        self.around.reporter.advance(done=step + 1, note=f"loss {values['loss']:.4f}")
        return bool(row[-1] > 0.0)

    def _update(self, step: int, batches: Sequence[Batch]) -> None:
        state = self._state
        state.scaler.unscale_(state.optimizer)
        longest = self.spec.optimizer.clip_norm
        parameters = list(trained_parameters(self.stage.objective).values())
        length = nn.utils.clip_grad_norm_(parameters, float("inf") if longest is None else longest)
        length = gathered(length)
        if bool(torch.isfinite(length)):
            self._sums["gradient_norm"] = self._sums.get("gradient_norm", 0.0) + float(length)
        elif not state.scaler.is_enabled():  # with a scaler an overflow is normal: it skips the step and scales less
            self._refuse(step, f"a gradient of length {float(length)}", batches)
        state.scaler.step(state.optimizer)
        state.scaler.update()
        if state.averages is not None:
            state.averages.update(step=step)

    def _refuse(self, step: int, what: str, batches: Sequence[Batch]) -> None:
        folder = self.around.folder / "non-finite"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"batch-{step:08d}-rank{self.world.rank}.safetensors"
        named = {f"{part}/{name}": value for part, batch in enumerate(batches) for name, value in batch.items()}
        save_file({name: value.contiguous() for name, value in named.items()}, path)
        raise NonFiniteLossError(
            f"stage {self.stage.name} met {what} in step {step}; the batch is saved in {path}; look for NaN in the data, lower "
            "the learning rate, or use bf16 or fp32 in place of fp16"
        )

    @contextmanager
    def _autocast(self) -> Iterator[None]:
        dtype = autocast_dtype(self.spec, self.world.device)
        with torch.autocast(self.world.device.type, dtype=dtype, enabled=dtype is not None):
            yield

    # --- now and then -------------------------------------------------------------------------------------------------

    def _log(self, done: int, writer: MetricsWriter | None, *, samples_per_s: float) -> None:
        means = {name: value / self._summed for name, value in self._sums.items()}
        self._sums, self._summed = {}, 0
        if writer is not None:
            rate = self._state.optimizer.param_groups[0]["lr"]
            values = {**means, "learning_rate": rate, "samples_per_s": samples_per_s}
            writer.write(step=done, split="training", values=values)

    @contextmanager
    def _looking(self) -> Iterator[None]:
        """Evaluation mode with the averaged weights, no gradients; the random numbers of training are none the wiser."""
        set_training(self.stage.objective, frozen=self.stage.frozen, training=False)
        averages = self._state.averages
        with torch.no_grad(), self._autocast(), nullcontext() if averages is None else averages.in_use():
            yield

    def _validate(self, done: int, writer: MetricsWriter | None) -> None:
        source = self.stage.validation
        if source is None or len(source) == 0:
            return
        with self._looking():
            means = self._mean_losses(source)
        self._metrics = means
        if writer is not None:
            writer.write(step=done, split="validation", values=means)
        if self._best is None or means["loss"] < self._best:
            self._best = means["loss"]
            self._write(self.around.folder / BEST, done)

    def _mean_losses(self, source: BatchSource) -> dict[str, float]:
        """Over the same samples with the same random numbers each time, so that the curve shows the weights alone."""
        order = SampleOrder([whole_of(source)], batch_size=self.spec.batch_size, seed=self._seed)
        number = max(1, min(self.spec.validation_batches, len(source) // self.spec.batch_size))
        share = 1.0 / (number * self.parts.accumulate)
        sums: dict[str, Tensor] = {}
        for index in range(number):
            seed, numbers = seed_of(self._seed, "validation", index), order.batch(index)
            places = self.parts.places(rank=self.world.rank)
            batches = [source.batch(numbers[each.start : each.stop]) for each in places]
            draws = self._draws(seed)
            whole = self._whole(batches, draws)
            for part, batch in enumerate(batches):
                torch.manual_seed(seed_of(seed, part, self.world.rank))
                losses = self._spread(on_device(batch, self.world.device), draws[part], whole)
                for name, value in losses.items():
                    sums[name] = sums.get(name, torch.zeros((), device=value.device)) + value.float() * share
        return {name: float(self.world.mean(value)) for name, value in sums.items()}

    def _show(self, done: int, writer: MetricsWriter) -> None:
        if self.world.spread == "shard" and self.world.size > 1:
            return  # pictures would need all processes
        torch.manual_seed(seed_of(self._seed, "pictures"))
        with self._looking():
            writer.show(step=done, pictures=self.stage.pictures())

    # --- to and from disk ---------------------------------------------------------------------------------------------

    def _resume(self) -> int:
        """Steps already done."""
        kept = steps_kept(self.around.folder)
        if not kept:
            return 0
        checkpoint = load_checkpoint(step_folder(self.around.folder, kept[-1]))
        require_encoder(checkpoint, self.around.header.language_digest)
        resumable = read_resumable(checkpoint)
        self._state.restore(read_weights(checkpoint), resumable, where=str(checkpoint.path))
        self._sums, self._summed = resumable.numbers["sums"], resumable.numbers["summed"]
        self._best, self._metrics = resumable.numbers["best"], dict(checkpoint.metrics)
        self.around.reporter.event(f"{self.stage.name}: going on after step {checkpoint.step} of {self.steps}")
        return checkpoint.step

    def _save(self, done: int) -> None:
        numbers = {"sums": self._sums, "summed": self._summed, "best": self._best}
        weights, resumable = self._state.weights(), self._state.resumable(numbers)
        if self.world.is_main:
            save_checkpoint(
                self._header(step_folder(self.around.folder, done), done), weights=weights, resumable=resumable
            )
            forget_all_but(self.around.folder, last=self.spec.keep_last)
        self.world.wait()

    def _write(self, path: Path, done: int) -> None:
        weights = self._state.weights()
        if self.world.is_main:
            save_checkpoint(self._header(path, done), weights=weights)
        self.world.wait()

    def _write_final(self, done: int) -> Path:
        self._write(self.around.folder / FINAL, done)
        return self.around.folder / FINAL

    def _header(self, path: Path, done: int) -> Checkpoint:
        stage = self.stage.name.partition("-")[0]
        return dataclasses.replace(self.around.header, path=path, stage=stage, step=done, metrics=self._metrics)
