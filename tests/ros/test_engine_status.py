"""What engine_status says of inference: sums of both halves' figures, and nothing before both have run."""

from typing import Any

import pytest
from mola_interfaces.msg import HalfStatus

from mola_core.runtime.swap import SwapManager
from mola_nodes.bundles.manager import BundleManager
from mola_nodes.bundles.status import engine_status_message

ACTOR = HalfStatus(half="actor", run_p50_ms=10.0, run_p99_ms=20.0, run_max_ms=25.0, swap_gap_ms=-1.0)
IMAGINATION = HalfStatus(half="imagination", run_p50_ms=40.0, run_p99_ms=60.0, run_max_ms=80.0)
NOTHING_RAN = HalfStatus(half="imagination", run_p50_ms=-1.0, run_p99_ms=-1.0, run_max_ms=-1.0)


@pytest.mark.parametrize(
    ("imagination", "figures"),
    [(IMAGINATION, (50.0, 80.0, 105.0)), (NOTHING_RAN, (-1.0, -1.0, -1.0)), (None, (-1.0, -1.0, -1.0))],
)
def test_inference_times_are_sums_once_both_halves_have_run(
    imagination: HalfStatus | None, figures: tuple[float, float, float]
) -> None:
    nothing: Any = None
    manager = BundleManager(shelf=nothing, probe=nothing, swap=SwapManager(first_revision=0), on_wish=nothing)
    halves = {half.half: half for half in (ACTOR, imagination) if half is not None}
    status = engine_status_message(manager, halves=halves, stamp_ns=10**18)
    assert (status.inference_p50_ms, status.inference_p99_ms, status.inference_max_ms) == figures
