"""A stage as an ONNX graph of fixed shapes: the source of all engines."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import torch

from mola_core.export.errors import ExportError
from mola_core.export.graph_module import GraphModule
from mola_core.runtime.golden import Arrays

OPSET = 20
"""Read by every runtime named in :data:`mola_core.contracts.bundle.Runtime`."""
MIN_ONNXRUNTIME = "1.20.0"
_INLINE_BYTES = 1_500_000_000
"""Larger graphs keep their weights in a file beside them; protobuf ends at 2 GB."""


def export_stage(module: GraphModule, path: Path, *, example: Arrays) -> None:
    """Write ``module`` to ``path`` (and its weights beside it where they are large).

    Raises:
        ExportError: the exporter does not understand the module, or shapes are not fixed.
    """
    arguments = tuple(torch.from_numpy(np.ascontiguousarray(example[spec.name])) for spec in module.inputs)
    size = sum(parameter.numel() * parameter.element_size() for parameter in module.parameters())
    try:
        with _quiet():
            program = torch.onnx.export(
                module,
                arguments,
                dynamo=True,
                opset_version=OPSET,
                input_names=[spec.name for spec in module.inputs],
                output_names=list(module.outputs),
                verbose=False,
            )
    except Exception as error:  # exporters raise classes of their own for every operator they do not know
        raise ExportError(f"the graph of {path.stem} does not export: {str(error).splitlines()[0]}") from error
    if program is None:
        raise ExportError(f"the graph of {path.stem} does not export: nothing came out")
    program.save(str(path), external_data=size > _INLINE_BYTES)
    _check(path, module=module)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's own deprecations, and what it finds remarkable about packages that we do without."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)


def num_parameters(path: Path) -> int:
    """Numbers among the initializers of a graph; what the stage really uses."""
    graph = onnx.load(path, load_external_data=False).graph
    return sum(int(np.prod(tensor.dims, dtype=np.int64)) for tensor in graph.initializer)


def _check(path: Path, *, module: GraphModule) -> None:
    """Inputs are the declared ones: the exporter drops what a graph does not read."""
    graph = onnx.load(path, load_external_data=False).graph
    names = {node.name for node in graph.input}
    missing = [spec.name for spec in module.inputs if spec.name not in names]
    if missing:
        raise ExportError(f"the graph of {path.stem} does not read {', '.join(missing)}; its graph has {sorted(names)}")
