"""One file for the weights of all graphs: what two stages share is stored once.

The preview runs the same video network as the control path; apart, their graphs would hold it twice. Weights that half precision
represents exactly are stored in it and cast when the graph is loaded, which costs nothing afterwards: runtimes fold constants.
"""

import hashlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

WEIGHTS = "weights.bin"
_INLINE_BYTES = 1024
_ALIGNMENT = 64
_HALF = "_half"


def share_weights(graphs: list[Path]) -> None:
    """Move the weights of ``graphs``, all in one folder, to :data:`WEIGHTS` beside them."""
    folder = graphs[0].parent
    places: dict[str, tuple[int, int]] = {}
    with (folder / WEIGHTS).open("wb") as file:
        for path in graphs:
            model = onnx.load(path)  # with its own external data, if it has any
            casts = [cast for tensor in list(model.graph.initializer) if (cast := _halved(tensor))]
            for tensor in model.graph.initializer:
                _move(tensor, file=file, places=places)
            _prepend(model, casts)
            _forget_origin(model)
            path.with_name(f"{path.name}.data").unlink(missing_ok=True)
            onnx.save(model, path)


def _halved(tensor: TensorProto) -> onnx.NodeProto | None:
    """Store ``tensor`` in half precision where nothing is lost; the node that brings it back."""
    if tensor.data_type != TensorProto.FLOAT:
        return None
    values = numpy_helper.to_array(tensor)
    if values.nbytes < _INLINE_BYTES:
        return None
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if not np.array_equal(half.astype(np.float32), values):
        return None
    name = tensor.name
    tensor.CopyFrom(numpy_helper.from_array(half, name + _HALF))
    return helper.make_node("Cast", [name + _HALF], [name], name=f"{name}_widened", to=TensorProto.FLOAT)


def _move(tensor: TensorProto, *, file: BinaryIO, places: dict[str, tuple[int, int]]) -> None:
    raw = tensor.raw_data if tensor.HasField("raw_data") else numpy_helper.to_array(tensor).tobytes()
    if len(raw) < _INLINE_BYTES:
        return
    digest = hashlib.sha256(raw).hexdigest()
    if digest not in places:
        file.write(b"\0" * (-file.tell() % _ALIGNMENT))
        places[digest] = (file.tell(), len(raw))
        file.write(raw)
    offset, length = places[digest]
    shape, dtype, name = list(tensor.dims), tensor.data_type, tensor.name
    tensor.Clear()
    tensor.dims.extend(shape)
    tensor.data_type, tensor.name = dtype, name
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", WEIGHTS), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)


def _forget_origin(model: ModelProto) -> None:
    """The exporter notes files and lines of the machine it ran on at every node: half of a small graph, and nobody's business."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer):
        del value.metadata_props[:]
        value.doc_string = ""
    del model.graph.metadata_props[:]
    del model.metadata_props[:]


def _prepend(model: ModelProto, nodes: list[onnx.NodeProto]) -> None:
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *rest])
