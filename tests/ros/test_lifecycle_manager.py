"""The manager against real nodes that die for real."""

import signal
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

import pytest
from mola_interfaces.msg import NodeHeartbeat
from ros_probe import Probe
from std_srvs.srv import Trigger

from mola_nodes import graph

StartNode = Callable[..., "Popen[str]"]
NAMES = ("first", "/mola/second")


@pytest.fixture
def manager(start_node: StartNode) -> "Popen[str]":
    names = ", ".join(f'"{name}"' for name in NAMES)
    return start_node(
        "lifecycle_manager_node", name="lifecycle_manager", managed_nodes=f"[{names}]", node_timeout_ms=1000
    )


def all_active(probe: Probe) -> Trigger.Response:
    return probe.call(graph.ALL_ACTIVE.type, graph.ALL_ACTIVE.name, Trigger.Request())


def wait_all_active(probe: Probe) -> None:
    probe.wait(lambda: all_active(probe).success, "all nodes to be active")


def log_of(tmp_path: Path, name: str) -> str:
    return "".join(path.read_text() for path in sorted(tmp_path.glob(f"{name}.*.log")))


def test_killed_node_is_named_and_its_successor_brought_up(
    manager: "Popen[str]", start_node: StartNode, probe: Probe, tmp_path: Path
) -> None:
    start_node("bare_node.py", name="first")
    second = start_node("bare_node.py", name="second")
    wait_all_active(probe)

    second.kill()
    probe.wait(lambda: not all_active(probe).success, "the loss to be noticed")
    answer = all_active(probe)
    assert "/mola/second: silent" in answer.message
    assert "/mola/first" not in answer.message

    start_node("bare_node.py", name="second")
    wait_all_active(probe)
    log = log_of(tmp_path, "lifecycle_manager")
    assert f"/mola/second (pid {second.pid}) died: silent for 1000 ms" in log
    assert "/mola/second restarted" in log
    assert log.count("/mola/second is active") == 2
    assert log.count("/mola/first is active") == 1


def test_node_that_cannot_come_up_is_named_with_the_reason_and_tried_again(
    manager: "Popen[str]", start_node: StartNode, probe: Probe, tmp_path: Path
) -> None:
    device = tmp_path / "device"
    start_node("bare_node.py", name="first", device=device)
    start_node("bare_node.py", name="second")
    probe.wait(lambda: "is absent; plug it in" in all_active(probe).message, "the reason")
    assert probe.state("/mola/second") == "unconfigured", "the order of bring-up was not kept"
    device.touch()
    wait_all_active(probe)


def test_heartbeat_of_another_version_is_told_and_the_manager_goes_on(
    manager: "Popen[str]", start_node: StartNode, probe: Probe, tmp_path: Path
) -> None:
    beats = probe.publisher(graph.NODE_HEARTBEATS)
    other = NodeHeartbeat(version=NodeHeartbeat.VERSION + 1, node="/mola/first", pid=1, state=3)
    said = f"of version {other.version} from /mola/first, this node speaks {NodeHeartbeat.VERSION}"

    def told() -> bool:
        beats.publish(other)
        return said in all_active(probe).message

    probe.wait(told, "the refusal")
    for name in ("first", "second"):
        start_node("bare_node.py", name=name)
    wait_all_active(probe)
    manager.send_signal(signal.SIGINT)
    assert manager.wait(timeout=30) == 0
    assert said in log_of(tmp_path, "lifecycle_manager")


def test_manager_takes_the_nodes_down_in_reverse_order(
    manager: "Popen[str]", start_node: StartNode, probe: Probe
) -> None:
    first, second = (start_node("bare_node.py", name=name) for name in ("first", "second"))
    wait_all_active(probe)
    ended: list[str] = []

    def look() -> bool:
        for name, process in (("second", second), ("first", first)):
            if name not in ended and process.poll() is not None:
                ended.append(name)
        return len(ended) == 2

    manager.send_signal(signal.SIGINT)
    probe.wait(look, "both nodes to end")
    assert ended == ["second", "first"]
    assert (first.returncode, second.returncode) == (0, 0)
    assert manager.wait(timeout=30) == 0


def test_manager_gives_up_when_told_to(start_node: StartNode, tmp_path: Path) -> None:
    manager = start_node(
        "lifecycle_manager_node", name="lifecycle_manager", managed_nodes='["/mola/first"]', bring_up_timeout_s=0.3
    )
    assert manager.wait(timeout=30) == 3
    assert "not up within 0.3 s: /mola/first: not started" in log_of(tmp_path, "lifecycle_manager")


def test_heart_beats_at_25_hz_or_more(manager: "Popen[str]", probe: Probe) -> None:
    beats = probe.collect(graph.HEARTBEAT)
    probe.wait(lambda: len(beats) >= 50, "fifty beats")
    span_ns = (beats[-1].stamp.sec - beats[0].stamp.sec) * 10**9 + beats[-1].stamp.nanosec - beats[0].stamp.nanosec
    assert (beats[-1].sequence - beats[0].sequence) / (span_ns / 1e9) > 25
