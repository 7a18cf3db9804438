"""What the lifecycle manager makes of heartbeats: those that it cannot use are told by name and are no sign of life."""

from typing import Any

import pytest
from mola_interfaces.msg import NodeHeartbeat

from mola_core.contracts.clock import FakeClock
from mola_core.contracts.errors import ConfigError
from mola_nodes.heard_nodes import HeardNodes, watches_of
from mola_nodes.node_watch import ACTIVE

FIRST, SECOND = "/mola/first", "/elsewhere/second"
OTHER = NodeHeartbeat.VERSION + 1


class Bench:
    def __init__(self) -> None:
        self.told: list[str] = []
        self.watches = watches_of(["first", SECOND], namespace="/mola", timeout_ms=500)
        self._heard = HeardNodes(self.watches, clock=FakeClock(), warn=self.told.append)

    def beat(self, node: str, *, version: int = NodeHeartbeat.VERSION, **fields: Any) -> None:
        self._heard.note(NodeHeartbeat(version=version, node=node, state=ACTIVE, **{"pid": 1, **fields}))


def test_a_heartbeat_of_another_version_is_told_once_for_each_node_and_no_sign_of_life() -> None:
    bench = Bench()
    for _ in range(3):
        bench.beat(FIRST, version=OTHER)
        bench.beat(SECOND, version=OTHER)
    said = [f"NodeHeartbeat of version {OTHER} from {node}, this node speaks {OTHER - 1}" for node in (FIRST, SECOND)]
    assert [line.partition(";")[0] for line in bench.told] == [f"heartbeat: {line}" for line in said]
    assert [watch.describe().partition(";")[0] for watch in bench.watches.values()] == said
    assert not any(watch.alive for watch in bench.watches.values())


def test_a_node_that_speaks_our_version_again_is_heard() -> None:
    bench = Bench()
    bench.beat(FIRST, version=OTHER)
    bench.beat(FIRST)
    assert (bench.watches[FIRST].is_up, bench.watches[FIRST].describe()) == (True, "active")
    assert bench.watches[FIRST].refusal == ""


def test_strangers_are_passed_over_whatever_they_speak_and_a_successor_is_told() -> None:
    bench = Bench()
    bench.beat("/mola/stranger", version=OTHER)
    bench.beat(FIRST)
    bench.beat(FIRST, pid=2)
    assert bench.told == ["/mola/first restarted (pid 2)"]


@pytest.mark.parametrize("names", [[], ["first", "/mola/first"]])
def test_each_node_is_named_once(names: list[str]) -> None:
    with pytest.raises(ConfigError, match="must name each node once"):
        watches_of(names, namespace="/mola", timeout_ms=500)
