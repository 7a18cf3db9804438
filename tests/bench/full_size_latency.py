"""The full-size model with random weights on one GPU: every way to run it, in one call, a file that grows with every row.

    python tests/bench/full_size_latency.py --out FOLDER

Needs the repository, PyTorch with CUDA, diffusers, pydantic, einops, jaxtyping, safetensors and onnx; no installation of the project.
Compiling comes after what is quick, so that a call cut short has that before it. ``FOLDER`` gets ``latency.json``, ``failures.log``
with the whole story of every way that failed, and with ``--profile`` the kernels of each way.
"""

import argparse
import gc
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch

from mola_core.cli.report import measurement_report, to_jsonable
from mola_core.contracts.bundle import Precision
from mola_core.export.exporting import Exportable
from mola_core.export.gpu_layout import lay_out_for_gpu
from mola_core.export.latency import LatencyRow, example_observation, measure_torch
from mola_core.export.limits import Limits, limits_of
from mola_core.export.random_model import random_model
from mola_core.export.stages import DTYPES, StageOptions, stages_of
from mola_core.export.torch_engine import Mode, TorchEngine
from mola_core.export.torch_policy import TorchPolicy, torch_policy
from mola_core.runtime import stages
from mola_core.runtime.engine_policy import Identity
from mola_core.runtime.policy import PolicyAnswer
from mola_core.runtime.stages import Stage
from mola_core.runtime.tensors import on_host

ALL: tuple[Stage, ...] = ("encoder", "video", "actor")


@dataclass(frozen=True)
class Way:
    """One way to run the policy; ``laid_out`` is :func:`lay_out_for_gpu`, which cannot be taken back."""

    name: str
    precision: Precision
    mode: Mode
    truncated: bool = True
    laid_out: bool = True
    compiled: tuple[Stage, ...] = ()


WAYS = (
    Way("untruncated", "fp16", "eager", truncated=False, laid_out=False),
    Way("graph-plain", "fp16", "graph", laid_out=False),
    Way("graph", "fp16", "graph"),
    Way("compiled-video", "fp16", "graph", compiled=("video",)),
    Way("compiled", "fp16", "graph", compiled=ALL),
    Way("graph-bf16", "bf16", "graph"),
    Way("compiled-video-bf16", "bf16", "graph", compiled=("video",)),
)


class OutOfTimeError(BaseException):
    """Not an ``Exception``: no compiler may take it for a failure of its own and go on."""


class Measurement:
    """The model, what has been made ready of it, and what was found so far."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._begin = time.monotonic()
        self._out: Path = arguments.out
        self._model: Exportable = random_model(arguments.recipe, device=arguments.device)
        self._precision: Precision = "fp32"
        self._ready: dict[tuple[Stage, Mode, bool, bool], TorchEngine] = {}
        self._rows: dict[str, LatencyRow] = {}
        self._agreement: dict[str, dict[str, float]] = {}
        self._limits: Limits | None = None
        self._reference: PolicyAnswer | None = None
        self._say("model built")

    def run(self, ways: tuple[Way, ...]) -> int:
        """Every way in turn; how many there are rows for."""
        self._reference = self._answer(self._policy(Way("fp32", "fp32", "eager", laid_out=False)))
        self._say("fp32 answered")
        for way in ways:
            if self._spent_s > self._arguments.seconds:
                self._say(f"{way.name}: not begun")
                continue
            try:
                with time_limit(self._arguments.seconds - self._spent_s):
                    self._one(way)
            except (Exception, OutOfTimeError) as error:  # noqa: BLE001  # a way that fails must not cost the others
                self._failed(way.name, error)
        return len(self._rows)

    def profile(self, name: str) -> None:
        """Which kernels the time goes to, into a file."""
        way = next(way for way in WAYS if way.name == name)
        if name not in self._rows or way.precision != self._precision:
            return
        try:
            with alone(self._arguments):
                (self._out / f"kernels-{name}.txt").write_text(kernels_of(self._policy(way)))
            self._say(f"{name}: profiled")
        except Exception as error:  # noqa: BLE001  # as above
            self._failed(f"profile of {name}", error)

    def _one(self, way: Way) -> None:
        policy = self._policy(way)
        if way.compiled:
            policy.warm()  # takes a while; whoever shares the machine may go on
        with alone(self._arguments):
            policy.warm()
            self._agreement[way.name] = agreement(self._answer(policy), self._reference)
            gc.collect()
            gc.freeze()
            row = measure_torch(policy, way=way.name, runs=self._arguments.runs)
            if self._limits is None and self._arguments.device != "cpu":
                self._limits = self._arithmetic(way.precision)
        self._rows[way.name] = row
        whole, first = row.stages["whole"], self._rows.get("untruncated", row).whole_p50_ms
        self._say(
            f"{way.name:<20} p50 {whole['p50']:.2f} p99 {whole['p99']:.2f} max {whole['max']:.2f} ms, "
            f"{first / whole['p50']:.2f} x untruncated; "
            + " ".join(f"{stage} {row.stages[stage]['p50']:.2f}" for stage in ALL if stage in row.stages)
            + f"; {self._agreement[way.name]}"
        )
        self._write()
        if self._arguments.profile and (way.compiled or way.name == "graph"):
            self.profile(way.name)

    def _policy(self, way: Way) -> TorchPolicy:
        if way.precision != self._precision:
            for engine in self._ready.values():
                engine.close()
            self._ready.clear()
            self._precision = way.precision
        if way.laid_out:
            lay_out_for_gpu(self._model.mola.to(DTYPES[way.precision]))
        ready: dict[Stage, TorchEngine] = {}
        cut = stages_of(self._model.mola, io=self._model.io, options=options_of(way))
        for stage in ALL:
            mode: Mode = "compiled" if stage in way.compiled else way.mode
            key = (stage, mode, way.truncated, way.laid_out)
            if key not in self._ready:
                self._ready[key] = TorchEngine(cut[stage], device=self._arguments.device, mode=mode)
            ready[stage] = self._ready[key]
        return torch_policy(
            self._model.mola,
            identity=Identity(bundle_id=way.name, io_spec=self._model.io),
            normalization=self._model.normalization,
            language=self._model.language,
            options=options_of(way),
            device=self._arguments.device,
            ready=ready,
            preview=False,
        )

    def _answer(self, policy: TorchPolicy) -> PolicyAnswer:
        answer = policy.act(example_observation(self._model.io), noise_seed=0)
        foresight = answer.foresight
        if foresight is None:
            raise RuntimeError("a policy that imagines gave no foresight")
        kept = {stages.FEATURES: np.array(on_host(foresight.tensors[stages.FEATURES]), dtype=np.float32)}
        return PolicyAnswer(
            stamp_ns=0,
            targets=answer.targets.copy(),
            openings=answer.openings,
            codes=answer.codes,
            latents={**answer.latents, **kept},
        )

    def _arithmetic(self, precision: Precision) -> Limits:
        cut = stages_of(self._model.mola, io=self._model.io, options=StageOptions(precision=precision))
        return limits_of(cut, device=self._arguments.device, dtype=DTYPES[precision])

    def _write(self) -> None:
        untruncated = self._rows.get("untruncated")
        figures: dict[str, Any] = {
            "recipe": self._arguments.recipe,
            "rows": list(self._rows.values()),
            "against_fp32": self._agreement,
            "torch": torch.__version__,
        }
        if untruncated is not None:
            figures["times_untruncated"] = {
                name: untruncated.whole_p50_ms / row.whole_p50_ms for name, row in self._rows.items()
            }
        if self._limits is not None:
            figures["limits"] = asdict(self._limits) | {"limit_ms": self._limits.limit_ms}
        report = measurement_report("full size latency", figures)
        (self._out / "latency.json").write_text(json.dumps(to_jsonable(report), indent=2))

    def _failed(self, what: str, error: BaseException) -> None:
        with (self._out / "failures.log").open("a") as log:
            log.write(f"--- {what}, after {self._spent_s:.0f} s\n{''.join(traceback.format_exception(error))}\n")
        self._say(f"{what}: failed: {type(error).__name__}: {str(error)[:300]}")

    @property
    def _spent_s(self) -> float:
        return time.monotonic() - self._begin

    def _say(self, line: str) -> None:
        print(f"[{self._spent_s:5.0f} s] {line}", flush=True)


def options_of(way: Way) -> StageOptions:
    return StageOptions(precision=way.precision, truncated=way.truncated)


def agreement(answer: PolicyAnswer, reference: PolicyAnswer | None) -> dict[str, float]:
    """Cosine of the features and of the latent actions, and the largest difference of a target, beside full precision."""
    if reference is None:
        raise RuntimeError("no reference")
    codes = [np.mean(answer.codes[name] == reference.codes[name]) for name in reference.codes]
    return {
        "features_cosine": cosine(answer.latents[stages.FEATURES], reference.latents[stages.FEATURES]),
        "codes_equal": float(np.mean(codes)),
        "targets_difference": float(np.abs(answer.targets - reference.targets).max()),
    }


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    a, b = one.ravel().astype(np.float64), other.ravel().astype(np.float64)
    return round(float(a @ b / np.sqrt((a @ a) * (b @ b))), 7)


def kernels_of(policy: TorchPolicy, *, runs: int = 5) -> str:
    observation = example_observation(policy.io_spec)
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profiler:
        for _ in range(runs):
            policy.act(observation)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
    averages: Any = profiler.key_averages()
    key = "self_cuda_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
    return f"{runs} decisions\n" + str(averages.table(sort_by=key, row_limit=90, max_name_column_width=110))


@contextmanager
def alone(arguments: argparse.Namespace) -> Iterator[None]:
    """The GPU to ourselves, by the two arguments that say how."""
    while arguments.when is not None and not arguments.when.exists():
        time.sleep(0.2)
    with paused(arguments.pause):
        yield


@contextmanager
def paused(group: int | None) -> Iterator[None]:
    """Meanwhile the process group ``group``, which shares the GPU, is stopped."""
    if group is None:
        yield
        return
    signalled(group, signal.SIGSTOP)
    try:
        yield
    finally:
        signalled(group, signal.SIGCONT)


def signalled(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return  # it has ended, which is as quiet
    if number is signal.SIGSTOP:
        time.sleep(0.3)  # what it had given to the GPU is done by then


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """OutOfTimeError in the middle of whatever is done when they are over."""

    def interrupt(_number: int, _frame: object) -> None:
        raise OutOfTimeError(f"{seconds:.0f} s are over")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.1))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder")
    parser.add_argument("--recipe", default="full", choices=("full", "twin", "twin-tiny"))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=480.0, help="break off what is not done then")
    parser.add_argument("--ways", help=f"which, with commas: {', '.join(way.name for way in WAYS)} (all)")
    parser.add_argument("--pause", type=int, metavar="GROUP", help="process group to stop while something is measured")
    parser.add_argument("--when", type=Path, metavar="FILE", help="measure when it exists; make ready meanwhile")
    parser.add_argument("--profile", action="store_true", help="write down each way's kernels")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.backends.cudnn.benchmark = True
    wanted = None if arguments.ways is None else arguments.ways.split(",")
    ways = tuple(way for way in WAYS if wanted is None or way.name in wanted)
    return 0 if Measurement(arguments).run(ways) else 1


if __name__ == "__main__":
    sys.exit(main())
