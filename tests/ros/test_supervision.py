"""The thread that looks after the nodes: a bug in it ends the process by name, while the heart would beat on."""

from typing import Any

from mola_core.contracts.clock import FakeClock
from mola_nodes.node_watch import INACTIVE, NodeWatch
from mola_nodes.process import Ending
from mola_nodes.supervision import Supervision


class FakeLog:
    """Keeps what is fatal."""

    def __init__(self) -> None:
        self.fatal_lines: list[str] = []

    def fatal(self, message: str) -> None:
        self.fatal_lines.append(message)


class BrokenTransitions:
    def bring_up(self, _watch: NodeWatch, *, timeout_s: float) -> bool:
        raise KeyError(f"nobody answers within {timeout_s:g} s")


def test_a_bug_is_logged_with_its_trace_and_ends_the_process() -> None:
    watch = NodeWatch(name="/mola/first", timeout_ns=10**9)
    watch.beat(now_ns=0, pid=1, state=INACTIVE, problem="")
    ending, log = Ending(), FakeLog()
    fakes: dict[str, Any] = {"transitions": BrokenTransitions(), "log": log}
    Supervision((watch,), clock=FakeClock(), ending=ending, bring_up_timeout_s=0.0, **fakes).run()
    assert (ending.requested, ending.exit_code) == (True, 1)
    (trace,) = log.fatal_lines
    assert "KeyError: 'nobody answers within 30 s'" in trace
    assert "bring_up" in trace
