"""The action server: a client gets its result, whatever is wrong with the run."""

from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

from lifecycle_msgs.msg import Transition
from mola_interfaces.action import RunPolicy
from rclpy.action import ActionClient
from ros_probe import Probe

from mola_core.contracts.clock import NS_PER_S
from mola_nodes import graph
from mola_nodes.conversions.wire import duration_from_ns

NODE = f"{graph.NAMESPACE}/{graph.POLICY}"
StartNode = Callable[..., "Popen[str]"]


def test_a_run_that_raises_ends_for_its_client_and_a_bug_ends_the_process(
    start_node: StartNode, probe: Probe, tmp_path: Path
) -> None:
    process = start_node("broken_policy_node.py", name=graph.POLICY)
    assert probe.transition(NODE, Transition.TRANSITION_CONFIGURE)
    assert probe.transition(NODE, Transition.TRANSITION_ACTIVATE)
    client = ActionClient(probe.node, graph.RUN_POLICY.type, graph.RUN_POLICY.name)
    probe.wait(client.server_is_ready, "the policy's action server")

    def result_of(instruction: str) -> RunPolicy.Result:
        goal = RunPolicy.Goal(instruction=instruction, time_limit=duration_from_ns(NS_PER_S))
        sent = client.send_goal_async(goal)
        probe.wait(sent.done, "an answer to the goal")
        ended = sent.result().get_result_async()
        probe.wait(ended.done, "the result", timeout_s=15.0)
        return ended.result().result

    refused = result_of("a device")
    assert (refused.success, refused.outcome) == (False, RunPolicy.Result.FAILED)
    assert refused.reason == "the twin's world does not answer; start it"
    assert process.poll() is None, "the next goal may do better"

    broken = result_of("no such shape")
    assert (broken.success, broken.outcome) == (False, RunPolicy.Result.FAILED)
    assert broken.reason == "a bug ended the run: ValueError('no such shape')"
    assert process.wait(timeout=30) == 1
    client.destroy()
    (log,) = tmp_path.glob(f"{graph.POLICY}.*.log")
    assert "Traceback" in log.read_text()
