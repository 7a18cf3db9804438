"""From a trained model to a draft of a bundle: a graph for each stage, golden tensors, and how close the graphs come to torch."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from mola_core.contracts.bundle import BuildRecord, LanguageRecord, Manifest, ParityRecord, StageRecord, TensorRecord
from mola_core.contracts.io_spec import IoSpec
from mola_core.contracts.normalization import Normalization
from mola_core.export.draft import Draft, fresh_folder, onnx_path, write_draft
from mola_core.export.errors import ExportError
from mola_core.export.onnx import MIN_ONNXRUNTIME, export_stage, num_parameters
from mola_core.export.precision_search import Cut, parts_to_keep
from mola_core.export.reference import golden_of
from mola_core.export.stages import StageModule, StageOptions, max_settled_of, passes_on, stages_of
from mola_core.export.text_encoder import record_text, write_text
from mola_core.export.weights_file import share_weights
from mola_core.nets.language import ClipText
from mola_core.nets.mola import Mola
from mola_core.runtime.bundle_policy import golden_path
from mola_core.runtime.engines.loading import EngineSource
from mola_core.runtime.engines.onnxruntime import OnnxRuntimeCpu
from mola_core.runtime.golden import Golden, parity_of, require_parity, write_golden
from mola_core.runtime.language import SentenceEncoder
from mola_core.runtime.stages import Stage

PARITY_SETS = 3
"""Sets of inputs that the graphs are compared on; the first is kept as the golden one."""


@dataclass(frozen=True)
class Exportable:
    """A model with everything that a bundle says of it."""

    mola: Mola
    io: IoSpec
    normalization: Normalization
    language: SentenceEncoder
    text: ClipText | None = None
    """What ``language`` remembers the answers of, where the bundle takes it along; None where robots have it installed."""
    git: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)

    def executing(self, steps: int) -> "Exportable":
        """The same, with another number of rows executed before the next chunk.

        Raises:
            ExportError: the horizon has not as many.
        """
        if not 1 <= steps <= self.io.horizon:
            raise ExportError(f"--execute-steps {steps} is outside 1..{self.io.horizon}, the rows of a chunk")
        return replace(self, io=self.io.model_copy(update={"execute_steps": steps}))


@dataclass(frozen=True)
class ExportPlan:
    """What to make of it. ExportError where it cannot be done."""

    name: str
    version: str
    options: StageOptions
    preview: bool = True
    check: bool = True
    """Compare with torch; off only for graphs too large for this machine to run."""
    find_full_precision: bool = False
    """Let more parts keep full precision, beside those that the options name, until every stage passes its parity."""
    halve_weights: bool = False
    """Round the weights to half precision first, and store them so: half the bytes. What is computed, in full precision, is then
    another model, to be evaluated as such."""

    def __post_init__(self) -> None:
        if self.check and self.options.precision == "bf16":
            raise ExportError(
                "graphs in bf16 cannot be compared with torch here: ONNX Runtime does not compute in it on CPUs; give --no-check, "
                "engines are held against the golden tensors when they are built"
            )


def export_model(
    model: Exportable, out: Path, *, plan: ExportPlan, say: Callable[[str], None] = lambda _line: None
) -> Draft:
    """Write the draft.

    Raises:
        ExportError: a stage does not export, or its graph is not what torch computes.
    """
    folder = fresh_folder(out)
    for name in ("onnx", "golden"):
        (folder / name).mkdir()
    if plan.halve_weights:
        model = replace(model, mola=rounded(model.mola))
    reference = _stages(model, replace(plan.options, precision="fp32"), plan)
    say("golden tensors: torch computes every stage in full precision")
    golden = [
        golden_of(reference, language=model.language, seed=seed) for seed in range(PARITY_SETS if plan.check else 1)
    ]
    exported = reference
    if plan.options.precision != "fp32" and plan.find_full_precision:
        kept = parts_to_keep(_cut(model, plan), golden, kept=plan.options.full_precision, say=say)
        plan = replace(plan, options=replace(plan.options, full_precision=kept))
    if plan.options.precision != "fp32":
        exported = _stages(replace(model, mola=copy.deepcopy(model.mola)), plan.options, plan)  # changed in place
    for stage, module in exported.items():
        say(f"{stage}: exporting")
        export_stage(module, folder / onnx_path(stage), example=_example(module, golden[0][stage]))
        write_golden(folder / golden_path(stage), golden[0][stage])
    graphs = [folder / onnx_path(stage) for stage in exported]
    if model.text is not None:
        say("language: exporting")
        graphs.append(write_text(model.text, folder))
    share_weights(graphs)
    parity: dict[Stage, ParityRecord] = {}
    for stage in exported if plan.check else ():
        parity[stage] = _parity(folder / onnx_path(stage), [each[stage] for each in golden], stage=stage, plan=plan)
        say(_told(stage, parity[stage]))
    manifest = _manifest(model, plan, exported=exported, golden=golden[0], parity=parity, folder=folder)
    if model.text is not None:
        taken = record_text(model.text, folder, check=plan.check)
        manifest = manifest.model_copy(update={"language": taken})
        if taken.parity is not None:
            say(_told("language", taken.parity))
    draft = Draft(path=folder, manifest=manifest)
    write_draft(draft)
    return draft


def _told(graph: str, parity: ParityRecord) -> str:
    return f"{graph}: cosine {parity.cosine:.7f}, largest difference {parity.max_abs:.2e}"


def _stages(model: Exportable, options: StageOptions, plan: ExportPlan) -> dict[Stage, StageModule]:
    cut = stages_of(model.mola, io=model.io, options=options)
    return {stage: module for stage, module in cut.items() if plan.preview or stage != "preview"}


def _cut(model: Exportable, plan: ExportPlan) -> Cut:
    """Copies, because precision is changed in place."""

    def cut(names: tuple[str, ...]) -> dict[Stage, StageModule]:
        copied = replace(model, mola=copy.deepcopy(model.mola))
        return _stages(copied, replace(plan.options, full_precision=names), plan)

    return cut


def rounded(mola: Mola) -> Mola:
    """A copy with weights that half precision represents exactly."""
    copied = copy.deepcopy(mola)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.copy_(parameter.half().float())
    return copied


def _example(module: StageModule, golden: Golden) -> dict[str, Any]:
    return {spec.name: golden.inputs[spec.name].astype(spec.dtype) for spec in module.inputs}


def _parity(path: Path, sets: list[Golden], *, stage: Stage, plan: ExportPlan) -> ParityRecord:
    """The worst over all sets; refused where it is too bad."""
    with OnnxRuntimeCpu(EngineSource(name=stage, path=path, device="cpu")) as engine:
        records = [parity_of(engine, golden) for golden in sets]
    worst = ParityRecord(
        cosine=min(record.cosine for record in records),
        max_abs=max(record.max_abs for record in records),
        codes_equal=all(record.codes_equal for record in records),
    )
    require_parity(worst, precision=plan.options.precision, what=f"the graph of {stage}")
    if plan.options.precision == "fp32" and not worst.codes_equal:
        raise ExportError(f"the graph of {stage} chooses other codes than torch does, in fp32")
    return worst


def _manifest(
    model: Exportable,
    plan: ExportPlan,
    *,
    exported: dict[Stage, StageModule],
    golden: dict[Stage, Golden],
    parity: dict[Stage, ParityRecord],
    folder: Path,
) -> Manifest:
    language = model.mola.config.language
    records = {
        stage: StageRecord(
            inputs=tuple(TensorRecord(name=spec.name, shape=spec.shape, dtype=spec.dtype) for spec in module.inputs),
            outputs=tuple(
                TensorRecord(name=name, shape=array.shape, dtype=_declared(name, array.dtype.name, module))
                for name, array in golden[stage].outputs.items()
            ),
            num_parameters=num_parameters(folder / onnx_path(stage)),
        )
        for stage, module in exported.items()
    }
    files = {stage: onnx_path(stage) for stage in exported}
    builds = [
        BuildRecord(
            runtime="onnxruntime",
            arch=arch,
            runtime_version=MIN_ONNXRUNTIME,
            precision=plan.options.precision,
            files=files,
            parity=parity if arch == "cpu" else {},
        )
        for arch in ("cpu", "cuda")
    ]
    return Manifest(
        name=plan.name,
        version=plan.version,
        contract_hash=model.io.contract.hash,
        io=model.io,
        normalization=model.normalization,
        modalities=tuple(model.mola.mixture.members) if model.mola.mixture is not None else (),
        passes_on=passes_on(exported),
        max_settled=max_settled_of(model.mola),
        language=LanguageRecord(encoder=language.encoder, digest=model.language.digest, length=language.length),
        stages=records,
        builds=tuple(builds),
        git=model.git,
        training=model.training | {"export": _record_of(plan)},
    )


def _record_of(plan: ExportPlan) -> dict[str, Any]:
    """What another compiler of the same bundle has to know."""
    return {
        "action_steps": plan.options.action_steps,
        "video_steps": plan.options.video_steps,
        "halve_weights": plan.halve_weights,
        "full_precision": list(plan.options.full_precision),
        "torch": str(torch.__version__),
    }


def _declared(name: str, dtype: str, module: StageModule) -> str:
    """Features leave in half precision where the stage computes in less than full."""
    return "float16" if name == "features" and module.options.precision != "fp32" else dtype
