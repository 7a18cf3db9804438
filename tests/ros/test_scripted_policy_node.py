"""The whole graph on the whole twin: a sentence goes in, the world changes."""

from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest
from mola_interfaces.action import RunPolicy
from mola_interfaces.msg import ServoStatus
from mola_interfaces.srv import Resume
from rclpy.action import ActionClient
from ros_graph import difference, wait_all_active
from ros_probe import Probe
from ros_rig import whole_twin, write_twin_site

from mola_nodes import graph
from mola_nodes.conversions.wire import duration_from_ns
from mola_twin.world_client import WorldClient

HOST = "127.0.1.52"
ROLES = ("third_person", "wrist")
NS_PER_S = 10**9
MAX_ATTEMPTS = 5
StartNode = Callable[..., "Popen[str]"]


class Operator:
    """Says what to do and reads what came of it."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self.statuses = probe.collect(graph.SERVO_STATUS)
        self.chunks = probe.collect(graph.ACTION_CHUNK)
        self.feedback: list[Any] = []
        self._client = ActionClient(probe.node, graph.RUN_POLICY.type, graph.RUN_POLICY.name)

    def resume(self) -> None:
        def engaged() -> bool:
            if self.statuses and self.statuses[-1].state == ServoStatus.STOPPED:
                self._probe.call(Resume, graph.RESUME.name, Resume.Request(operator_name="test"))
            return bool(self.statuses) and self.statuses[-1].state == ServoStatus.HOLDING

        self._probe.wait(engaged, "the servo to engage")

    def send(self, instruction: str, *, time_limit_s: float = 30.0) -> Any:
        """The goal's handle."""
        self._probe.wait(self._client.server_is_ready, "the policy's action server")
        goal = RunPolicy.Goal(instruction=instruction, time_limit=duration_from_ns(round(time_limit_s * NS_PER_S)))
        future = self._client.send_goal_async(goal, feedback_callback=lambda m: self.feedback.append(m.feedback))
        self._probe.wait(future.done, "an answer to the goal")
        return future.result()

    def result(self, handle: Any) -> RunPolicy.Result:
        future = handle.get_result_async()
        self._probe.wait(future.done, "the result", timeout_s=90.0)
        return future.result().result

    def cancelled(self, handle: Any) -> RunPolicy.Result:
        """The result of a goal that is cancelled once it moves the arm."""
        ended = handle.get_result_async()
        del self.feedback[:]
        self._probe.wait(
            lambda: ended.done() or (self.feedback and self.feedback[-1].chunks_sent > 5), "chunks to be sent"
        )
        future = handle.cancel_goal_async()
        self._probe.wait(future.done, "an answer to the cancellation")
        return self.result(handle)

    def insist(self, carry_out: Callable[[Any], RunPolicy.Result], instruction: str) -> RunPolicy.Result:
        """Resume and try again where the servo process lost its arm, as it may on a crowded machine."""
        for _ in range(MAX_ATTEMPTS):
            self.resume()
            result = carry_out(self.send(instruction))
            if result.outcome != RunPolicy.Result.ARM_STOPPED:
                break
        return result

    def close(self) -> None:
        self._client.destroy()


@pytest.fixture(scope="module")
def twin_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with whole_twin(tmp_path_factory.mktemp("twin"), host=HOST):
        yield HOST


@pytest.fixture
def operator(twin_host: str, start_node: StartNode, probe: Probe, tmp_path: Path) -> Iterator[Operator]:
    site = write_twin_site(tmp_path / "site.yaml", host=twin_host)
    for role in ROLES:
        start_node("camera_node", name=graph.camera_node_name(role), site=site, camera=role)
    start_node("controller_node", name=graph.CONTROLLER, site=site)
    start_node("scripted_policy_node", name=graph.POLICY, site=site, world_host=twin_host)
    managed = [*map(graph.camera_node_name, ROLES), graph.CONTROLLER, graph.POLICY]
    start_node("lifecycle_manager_node", name=graph.LIFECYCLE_MANAGER, managed_nodes=f"[{', '.join(managed)}]")
    wait_all_active(probe)
    operator = Operator(probe)
    yield operator
    operator.close()


def test_an_instruction_is_carried_out_cancelled_and_refused(operator: Operator, probe: Probe, tmp_path: Path) -> None:
    """One bring-up, because it takes longest: the graph, a refusal, a cancellation, lost frames, a success."""
    policy = next(node for node in graph.nodes(roles=ROLES) if node.name == graph.POLICY)
    probe.wait(lambda: not difference(probe.node, policy), "the declared graph")

    assert not operator.send("dance a tango").accepted
    assert "does not understand 'dance a tango'; it knows e.g.: put the bottle in the bin" in log_of(tmp_path, "policy")

    with WorldClient(HOST) as world:
        world.reset(task="press_button", seed=3)
        stopped = operator.result(operator.send("press the button"))
        assert (stopped.success, stopped.outcome) == (False, RunPolicy.Result.ARM_STOPPED)
        assert "resume" in stopped.reason

        operator.resume()
        wrong = operator.result(operator.send("open the drawer"))
        assert "set up for 'press_button'" in wrong.reason

        cancelled = operator.insist(operator.cancelled, "Push the button.")
        assert cancelled.outcome == RunPolicy.Result.CANCELLED
        assert operator.chunks[-1].final
        probe.wait(lambda: operator.statuses[-1].state == ServoStatus.HOLDING, "the arm to hold")

        done = operator.insist(operator.result, "push the button")
        assert done.success, done.reason
        assert world.truth().button_pressed
    assert done.chunks_sent > 10
    assert operator.statuses[-1].chunks_accepted > 10
    probe.wait(lambda: operator.statuses[-1].state == ServoStatus.HOLDING, "the arm to hold")


def log_of(tmp_path: Path, name: str) -> str:
    return "".join(path.read_text() for path in sorted(tmp_path.glob(f"{name}.*.log")))
