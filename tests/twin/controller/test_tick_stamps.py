"""Stamps of the controller's ticks, where it comes late and makes up for it."""

from pathlib import Path

import numpy as np

from mola_core.contracts.clock import NS_PER_MS, FakeClock
from mola_twin.controller.process import TICK_NS, Controller
from mola_twin.controller.trace import unpack_trace


def test_made_up_ticks_are_never_stamped_before_the_late_one(tmp_path: Path) -> None:
    clock = FakeClock()
    controller = Controller(host="127.0.1.81", run_dir=tmp_path, clock=clock)
    try:
        clock.advance(100 * NS_PER_MS)
        controller.tick(steps=2)
        clock.advance(NS_PER_MS)
        controller.tick(steps=3)
        clock.advance(100 * NS_PER_MS)
        controller.tick()
    finally:
        controller.close()
    stamps_ns = unpack_trace(controller.trace.last(1.0))["stamp_ns"]
    assert len(stamps_ns) == 6
    assert (np.diff(stamps_ns) > 0).all()
    assert stamps_ns[1] - stamps_ns[0] == TICK_NS, "a made-up tick lies a period before the next"
    assert stamps_ns[-1] == clock.now_ns()
