"""The call on a GPU against a stand-in of torch's streams, events and graphs, on the processor's memory.

What is enqueued happens at once here, so the order in which streams are told to wait is read from a journal; that a card keeps to it
is what the conformance suite shows where there is one.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

from mola_core.export.torch_call import DeviceCall, TorchTensor
from mola_core.runtime.engines.protocol import EngineError
from mola_core.runtime.tensors import TensorSpec, on_host

SPECS = [TensorSpec("x", (3,), "float32")]
X = np.array([1.0, 2.0, 3.0], dtype=np.float32)


@dataclass
class Journal:
    lines: list[str] = field(default_factory=list)
    captures: list[dict[str, Any]] = field(default_factory=list)
    priorities: list[int] = field(default_factory=list)
    failing: bool = False


class FakeGraph:
    """Replays what it was told to while it was captured, into the same tensors."""

    capturing: "FakeGraph | None" = None

    def __init__(self) -> None:
        self.work: list[Callable[[], object]] = []

    def replay(self) -> None:
        for work in self.work:
            work()


def fake_stream(journal: Journal) -> type:
    class Stream:
        def __init__(self, _device: str, *, priority: int) -> None:
            journal.priorities.append(priority)

        @staticmethod
        def priority_range() -> tuple[int, int]:
            return 0, -5

        def wait_event(self, _event: object) -> None:
            journal.lines.append("stream waits")

    return Stream


def fake_event(journal: Journal) -> type:
    class Event:
        def __init__(self, *, blocking: bool) -> None:
            assert blocking, "a thread that spins takes a core"

        def record(self, _stream: object) -> None:
            journal.lines.append("record")

        def synchronize(self) -> None:
            journal.lines.append("thread waits")
            if journal.failing:
                raise RuntimeError("CUDA error: an illegal memory access was encountered\nand more")

    return Event


@pytest.fixture
def journal(monkeypatch: pytest.MonkeyPatch) -> Journal:
    journal = Journal()

    @contextlib.contextmanager
    def graph(graph: FakeGraph, **options: Any) -> Iterator[None]:
        journal.captures.append(options)
        FakeGraph.capturing = graph
        yield
        FakeGraph.capturing = None

    def copy(target: torch.Tensor, source: torch.Tensor, **_options: bool) -> torch.Tensor:
        journal.lines.append("copy")
        return copy_(target, source)

    copy_ = torch.Tensor.copy_
    cuda = {"Stream": fake_stream(journal), "Event": fake_event(journal), "graph": graph, "CUDAGraph": FakeGraph}
    cuda |= {"stream": lambda _stream: contextlib.nullcontext(), "synchronize": lambda _device: None}
    for name, fake in cuda.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    monkeypatch.setattr(torch.Tensor, "copy_", copy)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda _self, _stream: journal.lines.append("in use"))
    return journal


def doubling(x: torch.Tensor) -> tuple[torch.Tensor]:
    y = 2 * x
    if FakeGraph.capturing is not None:
        FakeGraph.capturing.work.append(lambda: torch.mul(x, 2, out=y))
    return (y,)


def on_card(*, background: bool = False, captured: bool = False) -> DeviceCall:
    call = DeviceCall(doubling, inputs=SPECS, outputs=["y"], device="cpu", background=background)
    if captured:
        call.capture()
    return call


@pytest.mark.parametrize("captured", [False, True])
def test_results_stay_as_they_are_while_the_call_goes_on(journal: Journal, captured: bool) -> None:
    call = on_card(captured=captured)
    results = [call.run({"x": X + number})["y"] for number in range(3)]
    for number, result in enumerate(results):
        np.testing.assert_array_equal(on_host(result), 2 * (X + number))


def test_it_is_captured_in_its_own_stream_undisturbed_by_other_threads(journal: Journal) -> None:
    call = on_card(captured=True)
    assert journal.captures == [{"stream": call._stream, "capture_error_mode": "thread_local"}]


@pytest.mark.parametrize(("background", "priority"), [(False, -5), (True, 0)])
def test_what_the_arm_waits_for_comes_first(journal: Journal, background: bool, priority: int) -> None:
    on_card(background=background)
    assert journal.priorities == [priority]


def test_another_result_is_read_after_it_is_made_and_marked_as_read(journal: Journal) -> None:
    first, second = on_card(), on_card()
    made = first.run({"x": X})["y"]
    journal.lines.clear()
    result = second.run({"x": made})["y"]
    assert journal.lines == ["thread waits", "stream waits", "copy", "in use", "record", "record"]
    np.testing.assert_array_equal(on_host(result), 4 * X)


def test_pinned_memory_is_written_to_when_its_last_copy_is_through(journal: Journal) -> None:
    call = on_card()
    journal.lines.clear()
    call.run({"x": X})
    assert journal.lines == ["thread waits", "copy", "record", "record"]


def test_a_result_is_read_when_it_is_made_and_a_card_that_failed_says_so(journal: Journal) -> None:
    result = on_card().run({"x": X})["y"]
    assert isinstance(result, TorchTensor)
    journal.lines.clear()
    on_host(result)
    assert journal.lines == ["thread waits"]
    journal.failing = True
    for look in (result.wait, result.to_host):
        with pytest.raises(EngineError, match=r"the GPU failed: CUDA error: an illegal memory access was encountered$"):
            look()
