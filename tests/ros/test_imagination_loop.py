"""When the imagination looks: at its own slow pace, and at once when it is asked to; its half and its frames are faked."""

import queue
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from sensor_msgs.msg import Image

from mola_core.contracts.clock import SystemClock
from mola_core.contracts.io_spec import CameraView, DataContract, IoSpec
from mola_core.runtime.foresight import Foresight, Observed
from mola_core.runtime.slot import EngineSlot, Wanted
from mola_nodes.conversions.wire import time_from_ns
from mola_nodes.imagination.frames import NewestFrames
from mola_nodes.imagination.loop import ImaginationLoop, LoopSettings

PATIENCE_S = 10.0
IO = IoSpec(
    contract=DataContract(cameras=("wrist",), period_ns=100_000_000),
    views=(CameraView(camera="wrist", width=16, height=16),),
    horizon=8,
    execute_steps=4,
    foresight_offsets=(2,),
)


class FakeImagination:
    bundle_id = "old/1"

    def imagine(self, observed: Observed, *, noise_seed: int | None = None) -> Foresight:
        return Foresight(
            stamp_ns=observed.stamp_ns,
            bundle_id=self.bundle_id,
            instruction=observed.instruction,
            cameras=("wrist",),
            offsets_ns=(0,),
            tensors={},
            noise_seed=noise_seed or 0,
        )


@dataclass
class FakeHalf:
    imagination: FakeImagination
    io: IoSpec = IO
    bundle_id: str = "old/1"

    def close(self) -> None: ...


class Bench:
    """A loop that imagines once in a thousand seconds by itself, and what it delivered."""

    def __init__(self, slot: EngineSlot[FakeHalf]) -> None:
        self.clock = SystemClock()
        self.frames = NewestFrames(("wrist",), clock=self.clock)
        self.delivered = queue.Queue[int]()
        self.instruction = ""
        self.loop = ImaginationLoop(
            slot=slot,  # type: ignore[arg-type]
            frames=self.frames,
            instruction=lambda: self.instruction,
            deliver=lambda foresight, _shadow: self.delivered.put(foresight.stamp_ns),
            shadow=lambda _seen: None,
            settings=LoopSettings(
                lead_role="wrist", stale_ms=60_000, late_ms=10_000.0, shadow_every=4, unasked_hz=0.001
            ),
            clock=self.clock,
        )

    def see(self) -> int:
        """A frame arrives; its stamp."""
        now_ns = self.clock.now_ns()
        message = Image(height=16, width=16, encoding="rgb8", step=48, data=np.zeros(768, np.uint8).tobytes())
        message.header.stamp = time_from_ns(now_ns)
        self.frames.note("wrist", message)
        return now_ns


@pytest.fixture
def bench() -> Iterator["Bench"]:
    half = FakeHalf(FakeImagination())
    slot = EngineSlot[FakeHalf](lambda _bundle_id: half)
    slot.want(Wanted(1, active="old/1", staged=""))
    with slot:
        while not slot.report().ready:
            pass
        yield Bench(slot)


def test_it_looks_at_once_when_asked_and_otherwise_at_its_own_pace(bench: Bench) -> None:
    with bench.loop:
        bench.see()
        with pytest.raises(queue.Empty):
            bench.delivered.get(timeout=0.1)
        first_ns = bench.see()
        bench.instruction = "press"
        assert bench.delivered.get(timeout=PATIENCE_S) == first_ns, "the first of a run is not asked for"
        second_ns = bench.see()
        with pytest.raises(queue.Empty):
            bench.delivered.get(timeout=0.3)
        bench.loop.ask()
        assert bench.delivered.get(timeout=PATIENCE_S) == second_ns


def test_asked_before_anything_new_is_seen_it_waits_for_that(bench: Bench) -> None:
    bench.instruction = "press"
    first_ns = bench.see()
    with bench.loop:
        assert bench.delivered.get(timeout=PATIENCE_S) == first_ns
        bench.loop.ask()
        with pytest.raises(queue.Empty):
            bench.delivered.get(timeout=0.1)
        second_ns = bench.see()
        assert bench.delivered.get(timeout=PATIENCE_S) == second_ns


def test_a_wish_does_not_outlive_its_run(bench: Bench) -> None:
    bench.instruction = "press"
    bench.see()
    with bench.loop:
        bench.delivered.get(timeout=PATIENCE_S)
        bench.instruction = ""
        bench.loop.ask()
        bench.see()
        with pytest.raises(queue.Empty):
            bench.delivered.get(timeout=0.3)
        first_ns = bench.see()
        bench.instruction = "open"
        assert bench.delivered.get(timeout=PATIENCE_S) == first_ns
        bench.see()
        with pytest.raises(queue.Empty):
            bench.delivered.get(timeout=0.3)
