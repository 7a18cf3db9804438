"""How long an engine takes for a pass."""

import time

from mola_core.contracts.clock import NS_PER_MS
from mola_core.runtime.engines.protocol import Engine
from mola_core.runtime.golden import Arrays, given_to
from mola_core.runtime.tensors import finish


def pass_times_ms(engine: Engine, inputs: Arrays, *, runs: int) -> list[float]:
    """Wall time of each of ``runs`` passes of a warm engine; the device is waited for."""
    given = given_to(engine, inputs)
    times = []
    for _ in range(runs):
        begin = time.perf_counter_ns()
        finish(engine.run(given))
        times.append((time.perf_counter_ns() - begin) / NS_PER_MS)
    return times
