"""How fast this machine multiplies and adds: the rates of a few large kernels that do nothing else.

One kernel is no bound for the others: on one core of a processor with AVX-512 that is not Intel's, torch's matrix product runs at 0.11
TFLOP/s, ONNX Runtime's at 0.25 and its convolution at 0.26.
"""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch

from mola_core.export.onnx import OPSET
from mola_core.runtime.engines.loading import EngineSource, load_engine

REPEATS = 10
PATIENCE_S = 2.0
"""For one kernel: some processors take seconds for a pass in half precision."""


@dataclass(frozen=True)
class KernelRate:
    """The best of several passes of one kernel."""

    kernel: str
    """Whose, and which: ``onnxruntime convolution``."""
    tflop_per_s: float


@dataclass(frozen=True)
class _Sizes:
    """Large enough that nothing but arithmetic counts, small enough to be done in milliseconds."""

    side: int
    """Of the square matrices."""
    pictures: int
    channels: int
    cells: int
    """Height and width of what is convolved, 3 x 3, as many channels out as in."""

    @property
    def matmul_tflop(self) -> float:
        return 2 * self.side**3 / 1e12

    @property
    def convolution_tflop(self) -> float:
        return 2 * 9 * self.pictures * self.channels**2 * self.cells**2 / 1e12


_CPU = _Sizes(side=1024, pictures=1, channels=256, cells=32)
_GPU = _Sizes(side=8192, pictures=16, channels=640, cells=64)


def kernel_rates(*, device: str, dtype: torch.dtype, threads: int = 0) -> list[KernelRate]:
    """Of torch in ``dtype`` on ``device``, and on a CPU of ONNX Runtime in fp32 with ``threads`` (0: its own choice)."""
    if device != "cpu":
        return list(_torch_rates(_GPU, device=device, dtype=dtype))
    return [*_torch_rates(_CPU, device=device, dtype=dtype), *_onnxruntime_rates(_CPU, threads=threads)]


def best_of(rates: Iterable[KernelRate]) -> KernelRate:
    """The fastest."""
    return max(rates, key=lambda rate: rate.tflop_per_s)


@torch.inference_mode()
def _torch_rates(sizes: _Sizes, *, device: str, dtype: torch.dtype) -> Iterator[KernelRate]:
    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, device=device, dtype=dtype)

    def finish() -> None:
        if device != "cpu":
            torch.cuda.synchronize()

    matrix = drawn(sizes.side, sizes.side)
    seconds = _best_s(lambda: matrix @ matrix, finish=finish)
    yield KernelRate("torch matrix product", sizes.matmul_tflop / seconds)
    layout = torch.contiguous_format if device == "cpu" else torch.channels_last  # where tensor cores read it as it is
    pictures = drawn(sizes.pictures, sizes.channels, sizes.cells, sizes.cells).to(memory_format=layout)
    weight = drawn(sizes.channels, sizes.channels, 3, 3).to(memory_format=layout)
    seconds = _best_s(lambda: torch.nn.functional.conv2d(pictures, weight, padding=1), finish=finish)
    yield KernelRate("torch convolution", sizes.convolution_tflop / seconds)


def _onnxruntime_rates(sizes: _Sizes, *, threads: int) -> Iterator[KernelRate]:
    """By the runner that bundles are run by."""
    pictures = (sizes.pictures, sizes.channels, sizes.cells, sizes.cells)
    convolution = onnx.helper.make_node("Conv", ["x", "weight"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    product = onnx.helper.make_node("MatMul", ["x", "weight"], ["y"])
    square = (sizes.side, sizes.side)
    seconds = _graph_s(product, given=square, weight=square, threads=threads)
    yield KernelRate("onnxruntime matrix product", sizes.matmul_tflop / seconds)
    seconds = _graph_s(convolution, given=pictures, weight=(sizes.channels, sizes.channels, 3, 3), threads=threads)
    yield KernelRate("onnxruntime convolution", sizes.convolution_tflop / seconds)


def _graph_s(node: onnx.NodeProto, *, given: tuple[int, ...], weight: tuple[int, ...], threads: int) -> float:
    """Seconds of the best pass of a graph of one node; what comes out has the shape of what goes in."""
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(shape, dtype=np.float32) for shape in (given, weight))
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, given) for name in ("x", "y")]
    graph = onnx.helper.make_graph([node], "kernel", ends[:1], ends[1:], [onnx.numpy_helper.from_array(w, "weight")])
    opsets = [onnx.helper.make_opsetid("", OPSET)]
    model = onnx.helper.make_model_gen_version(graph, opset_imports=opsets)  # of the age that runtimes of before read
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.onnx"
        onnx.save(model, path)
        source = EngineSource(name="kernel", path=path, device="cpu", threads=threads)
        with load_engine("onnxruntime", source) as engine:
            return _best_s(lambda: engine.run({"x": x}))


def _best_s(work: Callable[[], object], *, finish: Callable[[], None] = lambda: None) -> float:
    """Of :data:`REPEATS` passes, fewer where they are slow; ``finish`` waits for what a device still has to do."""
    seconds: list[float] = []
    while len(seconds) < REPEATS and sum(seconds) < PATIENCE_S:
        finish()
        begin = time.perf_counter()
        work()
        finish()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)
