"""When the imagination looks: at its own slow pace, and at once when it is asked to; what nobody can imagine from, and what no half
may give, leaves it running. Its half and its frames are faked.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from mola_interfaces.msg import Foresight as Message
from sensor_msgs.msg import Image

from mola_core.contracts.clock import SystemClock
from mola_core.contracts.errors import MolaError, UnsupportedError
from mola_core.contracts.io_spec import CameraView, DataContract, IoSpec
from mola_core.runtime.foresight import Foresight, Observed
from mola_core.runtime.slot import EngineSlot, Wanted
from mola_nodes.conversions.wire import ns_from_time, time_from_ns
from mola_nodes.imagination.delivery import GraphDelivery
from mola_nodes.imagination.frames import NewestFrames
from mola_nodes.imagination.loop import ImaginationLoop, LoopParts, LoopSettings, Seen
from mola_nodes.imagination.preview import PreviewThread
from mola_nodes.imagination.shadowing import ImaginationShadow
from mola_nodes.turns import Troubles

PATIENCE_S = 10.0
IO = IoSpec(
    contract=DataContract(cameras=("wrist",), period_ns=100_000_000),
    views=(CameraView(camera="wrist", width=16, height=16),),
    horizon=8,
    execute_steps=4,
    foresight_offsets=(2,),
)


class FakeTensor:
    """On a device, which gives it back once it is let to."""

    shape = (1,)

    def __init__(self, gate: threading.Lock) -> None:
        self._gate = gate

    def wait(self) -> None:
        with self._gate:
            pass

    def to_host(self) -> np.ndarray:
        self.wait()
        return np.zeros(self.shape, np.float32)


@dataclass
class FakeImagination:
    """Imagines at once, unless told otherwise."""

    bundle_id: str = "old/1"
    before: Callable[[], object] = lambda: None
    """Called before it answers; may take long or raise."""
    tensors: dict[str, object] = field(default_factory=dict)

    def imagine(self, observed: Observed, *, noise_seed: int | None = None) -> Foresight:
        self.before()
        return Foresight(
            stamp_ns=observed.stamp_ns,
            bundle_id=self.bundle_id,
            instruction=observed.instruction,
            cameras=("wrist",),
            offsets_ns=(0,),
            tensors=self.tensors,  # type: ignore[arg-type]
            noise_seed=noise_seed or 0,
        )

    def preview(self, foresight: Foresight) -> dict[str, np.ndarray]:
        self.before()
        return {"wrist": np.zeros((1, 2, 2, 3), np.uint8)}


@dataclass
class FakeHalf:
    imagination: FakeImagination
    io: IoSpec = IO

    @property
    def bundle_id(self) -> str:
        return self.imagination.bundle_id

    def close(self) -> None: ...


class FakePublisher:
    """What would be published; may be made to raise."""

    def __init__(self) -> None:
        self.published = queue.Queue[int]()
        self.error: Exception | None = None

    def publish(self, message: Message) -> None:
        if self.error is not None:
            raise self.error
        self.published.put(ns_from_time(message.stamp))


class Told:
    """What the threads told their node."""

    def __init__(self) -> None:
        self.refused, self.bugs = queue.Queue[MolaError](), queue.Queue[BaseException]()
        self.troubles = Troubles(refused=self.refused.put, bug=self.bugs.put)


class Bench:
    """A loop that imagines once in a thousand seconds by itself, and what it delivered."""

    def __init__(self, slot: EngineSlot[FakeHalf], imaginations: dict[str, FakeImagination]) -> None:
        self.slot, self.imaginations = slot, imaginations
        self.clock = SystemClock()
        self.frames = NewestFrames(IO.contract.cameras, clock=self.clock)
        self.publisher, self.told = FakePublisher(), Told()
        self.delivered = self.publisher.published
        self.delivery = GraphDelivery(self.publisher)  # type: ignore[arg-type]
        self.instruction = ""
        self.settings = LoopSettings(
            lead_role="wrist", stale_ms=60_000, late_ms=10_000.0, shadow_every=4, unasked_hz=0.001
        )
        self.loop = self.make_loop()

    def make_loop(self, **changes: float) -> ImaginationLoop:
        parts = LoopParts(
            slot=self.slot,  # type: ignore[arg-type]
            frames=self.frames,
            instruction=lambda: self.instruction,
            delivery=self.delivery,
            shadow=lambda _seen: None,
            troubles=self.told.troubles,
            clock=self.clock,
        )
        return ImaginationLoop(parts, replace(self.settings, **changes))  # type: ignore[arg-type]

    def see(self, *, encoding: str = "rgb8", size: int = 16) -> int:
        """A frame arrives; its stamp."""
        now_ns = self.clock.now_ns()
        pixels = np.zeros((size, size, 3), np.uint8)
        message = Image(height=size, width=size, encoding=encoding, step=3 * size, data=pixels.tobytes())
        message.header.stamp = time_from_ns(now_ns)
        self.frames.note("wrist", message)
        return now_ns

    def failed(self, bundle_id: str) -> str:
        """Why the bundle was taken out of service, once it is."""
        deadline_ns = self.clock.monotonic_ns() + round(PATIENCE_S * 1e9)
        while bundle_id not in (failed := self.slot.report().failed):
            assert self.clock.monotonic_ns() < deadline_ns, f"{bundle_id} is not taken out of service"
            self.clock.sleep_until(self.clock.monotonic_ns() + 1_000_000)
        return failed[bundle_id]


@pytest.fixture
def bench() -> Iterator["Bench"]:
    imaginations = {name: FakeImagination(name) for name in ("old/1", "new/1")}
    slot = EngineSlot[FakeHalf](lambda name: FakeHalf(imaginations[name]), close_s=0.05)
    slot.want(Wanted(1, active="old/1", staged="new/1"))
    with slot:
        while len(slot.report().ready) < 2:
            pass
        yield Bench(slot, imaginations)


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


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ({"encoding": "bgr8"}, "camera wrist: image is 'bgr8', 'rgb8' expected"),
        ({"size": 8}, "bundle old/1 cannot look: a frame of 8 x 8 is too small for a view of 16 x 16"),
    ],
)
def test_frames_that_nobody_can_imagine_from_are_told_and_harm_no_bundle(
    bench: Bench, frame: dict[str, object], reason: str
) -> None:
    bench.instruction = "press"
    with bench.loop:
        bench.see(**frame)  # type: ignore[arg-type]
        assert reason in str(bench.told.refused.get(timeout=PATIENCE_S))
        bench.loop.ask()
        with pytest.raises(queue.Empty):  # one frame is refused once, however often somebody asks
            bench.told.refused.get(timeout=0.1)
        second_ns = bench.see()
        assert bench.delivered.get(timeout=PATIENCE_S) == second_ns, "and the next frame is imagined from"
    assert bench.told.refused.empty()
    assert bench.slot.report().failed == {}


def test_who_asked_is_answered_from_the_first_frames_that_can_be_imagined_from(bench: Bench) -> None:
    bench.instruction = "press"
    bench.see()
    with bench.loop:
        bench.delivered.get(timeout=PATIENCE_S)
        bench.loop.ask()
        bench.see(encoding="bgr8")
        bench.told.refused.get(timeout=PATIENCE_S)
        sound_ns = bench.see()
        assert bench.delivered.get(timeout=PATIENCE_S) == sound_ns


def test_a_camera_that_has_not_delivered_yet_harms_no_bundle(bench: Bench) -> None:
    bench.frames = NewestFrames(("lead", "wrist"), clock=bench.clock)
    bench.instruction = "press"
    with bench.make_loop(lead_role="lead"):  # type: ignore[arg-type]
        message = Image(height=16, width=16, encoding="rgb8", step=48, data=bytes(768))
        message.header.stamp = time_from_ns(bench.clock.now_ns())
        bench.frames.note("lead", message)
        assert "the policy looks through wrist" in str(bench.told.refused.get(timeout=PATIENCE_S))
    assert bench.slot.report().failed == {}


def test_what_no_input_explains_is_told_as_a_bug(bench: Bench) -> None:
    bench.imaginations["old/1"].before = [].pop
    bench.instruction = "press"
    with bench.loop:
        bench.see()
        assert isinstance(bench.told.bugs.get(timeout=PATIENCE_S), IndexError)


def test_a_publisher_that_is_gone_is_no_fault_of_the_bundle(bench: Bench) -> None:
    bench.publisher.error = RuntimeError("cannot use Destroyable because destruction was requested")
    bench.instruction = "press"
    with bench.loop:
        bench.see()
        assert bench.told.bugs.get(timeout=PATIENCE_S) is bench.publisher.error
    assert bench.slot.report().failed == {}


def test_a_half_whose_foresight_cannot_be_delivered_leaves_service(bench: Bench) -> None:
    bench.imaginations["old/1"].tensors = {"codes": np.zeros(3, np.int64)}
    bench.instruction = "press"
    with bench.loop:
        bench.see()
        assert "its foresight cannot be delivered: tensor 'codes' is int64" in bench.failed("old/1")
    assert bench.delivered.empty()


def test_nobody_waits_for_a_device_that_does_not_give_a_foresight_back(bench: Bench) -> None:
    gate = threading.Lock()
    bench.imaginations["old/1"].tensors = {"features": FakeTensor(gate)}
    bench.instruction = "press"
    with gate, bench.make_loop(late_ms=150.0) as loop:
        bench.see()
        assert bench.failed("old/1") == "it was not back after 300 ms"
        bench.slot.want(Wanted(2, active="new/1"))
        loop.ask()
        second_ns = bench.see()
        assert bench.delivered.get(timeout=PATIENCE_S) == second_ns, "the other bundle imagines meanwhile"


def test_a_shadow_that_hangs_or_errs_concerns_only_itself(bench: Bench) -> None:
    gate = threading.Lock()

    def hang() -> None:
        with gate:
            pass

    seen = Seen({"wrist": np.zeros((16, 16, 3), np.uint8)}, {"wrist": 1}, "press", seed=0)
    new = bench.imaginations["new/1"]
    shadow = ImaginationShadow(
        slot=bench.slot,  # type: ignore[arg-type]
        delivery=bench.delivery,
        troubles=bench.told.troubles,
        patience_s=0.3,
    )
    with gate, shadow:
        new.before = hang
        shadow.offer(seen)
        assert bench.failed("new/1") == "in the shadow: it was not back after 300 ms"
        new.before, new.tensors = (lambda: None), {"codes": np.zeros(3, np.int64)}
        bench.slot.want(Wanted(2, active="old/1"))
        bench.slot.want(Wanted(3, active="old/1", staged="new/1"))
        while "new/1" not in bench.slot.report().ready:
            pass
        shadow.offer(replace(seen, pixels={}))
        assert "the policy looks through wrist" in str(bench.told.refused.get(timeout=PATIENCE_S))
        assert bench.slot.report().failed == {}
        shadow.offer(seen)
        assert "in the shadow: tensor 'codes' is int64" in bench.failed("new/1")
    assert bench.slot.report().serving == "old/1"
    assert bench.told.bugs.empty()


@pytest.mark.parametrize("error", [RuntimeError("CUDA error"), MolaError("bundle old/1 has been retired")])
def test_pictures_that_cannot_be_shown_are_told_and_the_next_are_shown(bench: Bench, error: Exception) -> None:
    old, shown = bench.imaginations["old/1"], queue.Queue[str]()
    half = FakeHalf(old)

    def fail() -> None:
        raise error

    old.before = fail
    newest = Newest(half)
    with PreviewThread(
        newest=newest, show=lambda camera, *_: shown.put(camera), period_s=0.001, troubles=bench.told.troubles
    ):
        assert str(error) in str(bench.told.refused.get(timeout=PATIENCE_S))
        old.before = lambda: None
        assert shown.get(timeout=PATIENCE_S) == "wrist"
    assert bench.told.bugs.empty()


def test_a_bundle_without_pictures_is_nothing_to_tell(bench: Bench) -> None:
    old, asked = bench.imaginations["old/1"], threading.Semaphore(0)

    def refuse() -> None:
        asked.release()
        raise UnsupportedError("bundle old/1 has no engine for previews")

    old.before = refuse
    with PreviewThread(
        newest=Newest(FakeHalf(old)), show=lambda *_: None, period_s=0.001, troubles=bench.told.troubles
    ):
        assert all(asked.acquire(timeout=PATIENCE_S) for _ in range(3))
    assert bench.told.refused.empty()
    assert bench.told.bugs.empty()


class Newest:
    """Another foresight at every call."""

    def __init__(self, half: FakeHalf) -> None:
        self._half = half

    def __call__(self) -> tuple[FakeHalf, Foresight]:
        return self._half, FakeImagination().imagine(Observed(stamp_ns=0, views={}, instruction="press"))
