"""Whatever dies while the arm moves, the arm brakes, stays at rest until resumed, and comes back.

How soon it brakes is measured and judged by ``mola faults``, on a machine that does nothing else; here it is only printed.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mola_nodes.faults.cases import CASES, FaultCase
from mola_nodes.faults.run import run_faults
from mola_nodes.running_twin import RunningTwin

pytestmark = [pytest.mark.ros, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory, fault_site: tuple[Path, str]) -> Iterator[RunningTwin]:
    site, host = fault_site
    log = tmp_path_factory.mktemp("faults") / "graph.log"
    with RunningTwin(log_path=log, host=host, arguments={"site": str(site)}) as running:
        running.operator.resume()
        yield running


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_the_arm_brakes_waits_for_the_operator_and_comes_back(twin: RunningTwin, case: FaultCase) -> None:
    (result,) = run_faults([case], twin=twin, say=print)
    assert result.reaction_ms is not None, result.how
    assert result.moved_after_rest < 1e-3
    assert result.recovered_s is not None, result.problem
