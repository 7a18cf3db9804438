"""A block that reads words becomes a graph that TensorRT-RTX compiles; 1.7 fails where rows and heads change places at once."""

from pathlib import Path

import onnx
import pytest
from ahead_of_time import only_x86_64
from diffusers.models.attention import BasicTransformerBlock
from torch import Tensor

from mola_core.export.compilers.protocol import CompileJob
from mola_core.export.compiling import open_compiler
from mola_core.export.graph_module import GraphModule
from mola_core.export.onnx import export_stage
from mola_core.nets.word_attention import install_word_attention
from mola_core.runtime.engines.checks import zeros
from mola_core.runtime.tensors import TensorSpec

PICTURES, FRAMES, CELLS, HEADS, HEAD_WIDTH, NUM_WORDS, WORD_WIDTH = 2, 4, 16, 2, 16, 8, 32


class Block(GraphModule):
    """Every cell attends to the others of its frame, then to the words of its picture."""

    def __init__(self) -> None:
        super().__init__()
        width = HEADS * HEAD_WIDTH
        self.block = BasicTransformerBlock(width, HEADS, HEAD_WIDTH, cross_attention_dim=WORD_WIDTH)
        (self.attention,) = install_word_attention(self.block)
        self.inputs = (
            TensorSpec("cells", (PICTURES * FRAMES, CELLS, width), "float16"),
            TensorSpec("words", (PICTURES, NUM_WORDS, WORD_WIDTH), "float16"),
        )
        self.outputs = ("read",)

    def forward(self, cells: Tensor, words: Tensor) -> tuple[Tensor]:
        self.attention.tell(self.attention.remember(words))
        return (self.block(cells, encoder_hidden_states=words),)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    module = Block().half().eval().requires_grad_(requires_grad=False)
    path = tmp_path_factory.mktemp("block") / "video.onnx"
    export_stage(module, path, example=zeros(module.inputs))
    return path


def test_no_transposition_moves_more_than_four_axes(graph: Path) -> None:
    nodes = onnx.load(graph).graph.node
    moved = [onnx.helper.get_node_attr_value(node, "perm") for node in nodes if node.op_type == "Transpose"]
    assert moved
    assert max(len(axes) for axes in moved) <= 4


@only_x86_64
def test_a_block_that_reads_words_compiles(graph: Path, tmp_path: Path) -> None:
    job = CompileJob(stage="video", graph=graph, out=tmp_path / "video.rtx", arch="sm_89", precision="fp16")
    open_compiler("tensorrt_rtx").compile(job)
    assert job.out.stat().st_size > 0
