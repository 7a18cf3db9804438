"""Which parts of a model keep full precision in graphs that compute in less, so that these pass their parity."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from mola_core.contracts.bundle import ParityRecord
from mola_core.export.errors import ExportError
from mola_core.export.stages import StageModule
from mola_core.export.torch_engine import TorchEngine
from mola_core.runtime.golden import TOLERANCES, Golden, parity_of
from mola_core.runtime.stages import Stage

Cut = Callable[[tuple[str, ...]], Mapping[Stage, StageModule]]
"""The stages of a model of their own with those parts of it in full precision."""


def parts_to_keep(
    cut: Cut, golden: Sequence[Mapping[Stage, Golden]], *, kept: tuple[str, ...] = (), say: Callable[[str], None]
) -> tuple[str, ...]:
    """``kept`` and more parts, found one after the other by how much each helps, with which every stage passes its parity.

    Every candidate costs a pass through its stage: minutes for a small model, for the full one name the parts instead.

    Raises:
        ExportError: no part helps.
    """
    while True:
        stages = cut(kept)
        worst = {stage: _worst(module, golden, stage=stage) for stage, module in stages.items()}
        failing = next((stage for stage, parity in worst.items() if not _passes(parity, stages[stage])), None)
        if failing is None:
            return kept
        tried = {}
        for name in _candidates(stages[failing], golden[0][failing], kept=kept):
            chosen = (*(other for other in kept if not other.startswith(f"{name}.")), name)
            tried[name] = (_worst(cut(chosen)[failing], golden, stage=failing), chosen)
        best = max(tried, key=lambda name: _order(tried[name][0]), default=None)
        if best is None or _order(tried[best][0]) <= _order(worst[failing]):
            raise ExportError(
                f"{failing} has a cosine of {worst[failing].cosine:.6f}, and no part of it in full precision makes that better; "
                "export in fp32"
            )
        kept = tried[best][1]
        say(
            f"{failing}: {best} keeps full precision: cosine {worst[failing].cosine:.6f} becomes {tried[best][0].cosine:.6f}"
        )


def _order(parity: ParityRecord) -> tuple[float, float]:
    """Better is larger."""
    return parity.cosine, -parity.max_abs


def _passes(parity: ParityRecord, module: StageModule) -> bool:
    tolerance = TOLERANCES[module.options.precision]
    return parity.cosine >= tolerance.cosine and parity.max_abs <= tolerance.max_abs


def _worst(module: StageModule, golden: Sequence[Mapping[Stage, Golden]], *, stage: Stage) -> ParityRecord:
    engine = TorchEngine(module)
    return min((parity_of(engine, each[stage]) for each in golden), key=_order)


def _candidates(module: StageModule, golden: Golden, *, kept: Sequence[str]) -> list[str]:
    """Parts that the stage calls as modules, that have weights, and that are not in full precision yet; smallest first."""
    called: dict[str, int] = {}
    names = {part: name for name, part in module.mola.named_modules() if name}

    def note(part: nn.Module, _given: Any) -> None:
        called[names[part]] = sum(weight.numel() for weight in part.parameters())

    hooks = [part.register_forward_pre_hook(note) for part in names]
    TorchEngine(module).run(golden.inputs)
    for hook in hooks:
        hook.remove()
    done = tuple(kept)
    found = [
        name for name in called if called[name] and not any(name == one or name.startswith(f"{one}.") for one in done)
    ]
    return sorted(found, key=lambda name: (called[name], name))
