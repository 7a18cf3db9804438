"""A stand-in for the API of TensorRT on top of :mod:`fake_cuda`: plans whose pass is a function of arrays."""

import ctypes
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from fake_cuda import FakeCuda

from mola_core.runtime.engines.loading import EngineSource, load_engine
from mola_core.runtime.engines.protocol import Engine
from mola_core.runtime.tensors import TensorSpec, on_host

Arrays = Mapping[str, np.ndarray]
KINDS = {"float32": "FLOAT", "int64": "INT64", "bool": "BOOL", "uint8": "UINT8"}


class Mode(Enum):
    INPUT = 0
    OUTPUT = 1


@dataclass
class FakePlan:
    """An engine and its context in one."""

    cuda: FakeCuda
    inputs: Sequence[TensorSpec]
    outputs: Sequence[TensorSpec]
    compute: Callable[[Arrays], Arrays]
    accepts: bool = True
    """Whether a pass can be enqueued."""
    fits: bool = True
    """Whether there is memory for a context."""
    addresses: dict[str, int] = field(default_factory=dict)
    enqueued: int = 0

    @property
    def num_io_tensors(self) -> int:
        return len(self._specs)

    @property
    def _specs(self) -> tuple[TensorSpec, ...]:
        return (*self.inputs, *self.outputs)

    def _spec(self, name: str) -> TensorSpec:
        return next(spec for spec in self._specs if spec.name == name)

    def get_tensor_name(self, index: int) -> str:
        return self._specs[index].name

    def get_tensor_mode(self, name: str) -> Mode:
        return Mode.INPUT if name in {spec.name for spec in self.inputs} else Mode.OUTPUT

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._spec(name).shape

    def get_tensor_dtype(self, name: str) -> Any:
        dtype = self._spec(name).dtype
        return SimpleNamespace(name=KINDS.get(dtype, dtype))

    def create_execution_context(self) -> "FakePlan | None":
        return self if self.fits else None

    def set_tensor_address(self, name: str, pointer: int) -> None:
        self.addresses[name] = pointer

    def execute_async_v3(self, stream: int) -> bool:
        """What is enqueued keeps to the addresses of now."""
        self.enqueued += 1
        given, made = (
            {spec.name: array_at(self.addresses[spec.name], spec) for spec in side}
            for side in (self.inputs, self.outputs)
        )

        def work() -> None:
            results = self.compute({name: array.copy() for name, array in given.items()})
            for name, array in made.items():
                array[...] = results[name]

        if self.accepts:
            self.cuda.streams[stream].enqueue(work)
        return self.accepts


def doubling(cuda: FakeCuda, **options: Any) -> FakePlan:
    """y = 2 x, both of 3 numbers."""
    spec = {side: [TensorSpec(side, (3,), "float32")] for side in ("x", "y")}
    return FakePlan(cuda, spec["x"], spec["y"], lambda given: {"y": 2 * given["x"]}, **options)


def plan_of(engine: Engine, cuda: FakeCuda) -> FakePlan:
    """What ``engine`` computes, as a plan."""
    return FakePlan(
        cuda,
        engine.inputs,
        engine.outputs,
        lambda given: {name: on_host(tensor) for name, tensor in engine.run(given).items()},
    )


def array_at(pointer: int, spec: TensorSpec) -> np.ndarray:
    size = int(np.prod(spec.shape)) * np.dtype(spec.dtype).itemsize
    place = (ctypes.c_uint8 * size).from_address(pointer)
    return np.frombuffer(memoryview(place), dtype=spec.dtype).reshape(spec.shape)


def load(monkeypatch: Any, folder: Path, plan: FakePlan | None, *, name: str = "x", background: bool = False) -> Engine:
    """``plan``, or one that is refused, through the runner of TensorRT."""
    monkeypatch.setitem(sys.modules, "tensorrt", _api(plan))
    path = folder / f"{name}.plan"
    path.write_bytes(b"plan")
    return load_engine("tensorrt", EngineSource(name=name, path=path, device="cuda", background=background))


def _api(plan: FakePlan | None) -> ModuleType:
    api = ModuleType("tensorrt")
    api.__version__ = "11.0.0"  # type: ignore[attr-defined]
    api.Logger = type("Logger", (), {"ERROR": 1, "__init__": lambda self, level: None})  # type: ignore[attr-defined]
    api.Runtime = lambda _logger: SimpleNamespace(deserialize_cuda_engine=lambda _plan: plan)  # type: ignore[attr-defined]
    api.TensorIOMode = Mode  # type: ignore[attr-defined]
    return api
