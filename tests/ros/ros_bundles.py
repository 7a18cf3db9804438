"""Small bundles with random weights, made once a session: real graphs, real engines, no training; and some that go wrong."""

import shutil
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

from mola_core.contracts.bundle import MANIFEST, Manifest, digest_of, read_manifest
from mola_core.contracts.io_spec import ACTION_SIZE, STATE_SIZE
from mola_core.contracts.normalization import Normalization, Scaling
from mola_core.export.bundle_making import make_bundle
from mola_core.export.exporting import Exportable, ExportPlan, export_model
from mola_core.export.stages import StageOptions
from mola_core.nets.language import build_encoder
from mola_core.nets.mola import build_mola
from mola_core.runtime import stages
from mola_core.runtime.bundle_policy import golden_path
from mola_core.runtime.golden import read_golden
from mola_core.training.recipes.twin_tiny import twin_tiny

_SLOW_TURNS = 1600
"""Matrix products of 0.27 GFLOP: several seconds on one core."""


def make_random_bundle(root: Path, *, name: str, seed: int, scratch: Path) -> str:
    """A bundle of the tiny recipe under ``root``; its id."""
    recipe = twin_tiny()
    torch.manual_seed(seed)
    model = Exportable(
        mola=build_mola(recipe.model).eval(),
        io=recipe.io,
        normalization=_gentle(),
        language=build_encoder(recipe.model.language),
        training={"recipe": recipe.name, "step": 0},
    )
    plan = ExportPlan(name=name, version="1", options=StageOptions(precision="fp32", action_steps=2))
    draft = export_model(model, scratch / f"draft-{name}", plan=plan, say=lambda _line: None)
    make_bundle(draft, root, measure=False)
    return f"{name}/1"


def _gentle() -> Normalization:
    """Whatever the head says means millimetres and milliradians around the tool, and a gripper half open."""
    return Normalization(
        state=Scaling(offset=(0.0,) * STATE_SIZE, scale=(1.0,) * STATE_SIZE),
        action=Scaling(offset=(*(0.0,) * (ACTION_SIZE - 1), 0.5), scale=(*(0.002,) * (ACTION_SIZE - 1), 0.1)),
    )


def copy_bundle(root: Path, source: str, name: str) -> Path:
    """A copy of the bundle ``source`` that says of itself that it is ``name``/1; writable."""
    path = root / name / "1"
    shutil.copytree(root / source, path)
    for file in path.rglob("*"):
        file.chmod(0o755 if file.is_dir() else 0o644)
    _restate(path, name=name)
    return path


def restate_views(path: Path, camera: str) -> None:
    """Let the bundle say that its first view is of another ``camera``, contract and all."""
    manifest = read_manifest(path)
    first, *others = manifest.io.views
    views = (replace_model(first, camera=camera), *others)
    contract = replace_model(manifest.io.contract, cameras=tuple(view.camera for view in views))
    _restate(path, io=replace_model(manifest.io, views=views, contract=contract), contract_hash=contract.hash)


def replace_model(model: Any, **changes: object) -> Any:
    """A copy of a frozen record with other fields, checked anew."""
    return type(model).model_validate({**model.model_dump(), **changes})


def trap(path: Path, kind: Literal["not finite", "slow"]) -> None:
    """Let the actor of the bundle do what it should on golden and empty inputs, and something else on what it is given live."""
    file = path / "onnx" / "actor.onnx"
    model = onnx.load(file, load_external_data=False)
    golden = read_golden(path / golden_path("actor")).inputs[stages.STATE].astype(np.float32)
    graph = model.graph
    honest = f"honest_{stages.ACTIONS}"
    for node in graph.node:
        node.output[:] = [honest if name == stages.ACTIONS else name for name in node.output]
        node.input[:] = [honest if name == stages.ACTIONS else name for name in node.input]
    graph.initializer.extend(
        [
            numpy_helper.from_array(golden, "trap_golden"),
            numpy_helper.from_array(np.float32(1e-4), "trap_small"),
            numpy_helper.from_array(np.float32(0.0), "trap_zero"),
            numpy_helper.from_array(np.float32("nan"), "trap_nan"),
            numpy_helper.from_array(np.int64(0), "trap_never"),
            numpy_helper.from_array(np.int64(_SLOW_TURNS), "trap_often"),
            numpy_helper.from_array(np.zeros((512, 512), np.float32), "trap_matrix"),
            numpy_helper.from_array(np.bool_(True), "trap_true"),
        ]
    )
    make = helper.make_node
    graph.node.extend(
        [
            make("Sub", [stages.STATE, "trap_golden"], ["trap_from_golden"]),
            make("Abs", ["trap_from_golden"], ["trap_from_golden_abs"]),
            make("ReduceMax", ["trap_from_golden_abs"], ["trap_distance"], keepdims=0),
            make("Abs", [stages.STATE], ["trap_state_abs"]),
            make("ReduceMax", ["trap_state_abs"], ["trap_size"], keepdims=0),
            make("Min", ["trap_distance", "trap_size"], ["trap_least"]),
            make("Greater", ["trap_least", "trap_small"], ["trap_live"]),
        ]
    )
    if kind == "not finite":
        graph.node.append(make("Where", ["trap_live", "trap_nan", "trap_zero"], ["trap_offset"]))
    else:
        graph.node.extend(
            [
                make("Where", ["trap_live", "trap_often", "trap_never"], ["trap_turns"]),
                make("Loop", ["trap_turns", "trap_true", "trap_matrix"], ["trap_result"], body=_turn()),
                make("ReduceMax", ["trap_result"], ["trap_offset"], keepdims=0),
            ]
        )
    graph.node.append(make("Add", [honest, "trap_offset"], [stages.ACTIONS]))
    onnx.save(model, file)
    manifest = read_manifest(path)
    _restate(path, files=dict(manifest.files) | {"onnx/actor.onnx": digest_of(file)})


def _turn() -> onnx.GraphProto:
    """A matrix product that takes a while."""
    kinds = onnx.TensorProto
    return helper.make_graph(
        [
            helper.make_node("MatMul", ["matrix_in", "matrix_in"], ["matrix_out"]),
            helper.make_node("Identity", ["go_on_in"], ["go_on_out"]),
        ],
        "turn",
        [
            helper.make_tensor_value_info("turn", kinds.INT64, []),
            helper.make_tensor_value_info("go_on_in", kinds.BOOL, []),
            helper.make_tensor_value_info("matrix_in", kinds.FLOAT, [512, 512]),
        ],
        [
            helper.make_tensor_value_info("go_on_out", kinds.BOOL, []),
            helper.make_tensor_value_info("matrix_out", kinds.FLOAT, [512, 512]),
        ],
    )


def _restate(path: Path, **changes: object) -> None:
    manifest = Manifest.model_validate(read_manifest(path).model_dump() | changes)
    (path / MANIFEST).write_text(manifest.model_dump_json(), encoding="utf-8")
