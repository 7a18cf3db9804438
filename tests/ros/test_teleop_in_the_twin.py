"""The whole graph on the whole twin with a person beside a policy, and with the expert at the stick."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest
import yaml
from mola_interfaces.action import RunPolicy
from mola_interfaces.msg import ServoStatus
from mola_interfaces.srv import Resume
from rclpy.action import ActionClient
from ros_graph import wait_all_active
from ros_probe import Probe
from ros_rig import whole_twin, write_twin_site

from mola_core.contracts.clock import NS_PER_S, SystemClock
from mola_core.contracts.teleop import is_teleop
from mola_nodes import graph
from mola_nodes.conversions.wire import duration_from_ns
from mola_twin.tasks.instructions import TASKS
from mola_twin.world_client import WorldClient

pytestmark = pytest.mark.slow

HOST = "127.0.1.53"
ROLES = ("third_person", "wrist")
STILL = [0.0] * 6
MAX_ATTEMPTS = 4
StartNode = Callable[..., "Popen[str]"]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with whole_twin(tmp_path_factory.mktemp("twin"), host=HOST):
        yield HOST


@pytest.fixture
def patient_site(host: str, tmp_path: Path) -> Path:
    path = write_twin_site(tmp_path / "site.yaml", host=host)
    content = yaml.safe_load(path.read_text())
    content["arm"]["servo"] = {"watchdog_hz": 10}
    path.write_text(yaml.safe_dump(content))
    return path


class Bench:
    """The graph without a person; what it says, and an operator who resumes a stopped arm."""

    def __init__(self, probe: Probe, start_node: StartNode, site: Path) -> None:
        self.probe, self.start_node, self.site = probe, start_node, site
        self.servo = probe.collect(graph.SERVO_STATUS)
        self.commanded = probe.collect(graph.COMMANDED)
        self.teleop = probe.collect(graph.TELEOP_STATUS)
        for role in ROLES:
            start_node("camera_node", name=graph.camera_node_name(role), site=site, camera=role)
        start_node("controller_node", name=graph.CONTROLLER, site=site)
        start_node("scripted_policy_node", name=graph.POLICY, site=site, world_host=HOST)
        managed = [*map(graph.camera_node_name, ROLES), graph.CONTROLLER, graph.POLICY]
        start_node("lifecycle_manager_node", name=graph.LIFECYCLE_MANAGER, managed_nodes=f"[{', '.join(managed)}]")
        wait_all_active(probe)

    def wait(self, condition: Callable[[], Any], what: str, *, timeout_s: float = 120.0) -> Any:
        def resumed() -> Any:
            if self.servo and self.servo[-1].state in {ServoStatus.STOPPED, ServoStatus.OFFLINE}:
                self.probe.call(Resume, graph.RESUME.name, Resume.Request(operator_name="test"))
            return condition()

        return self.probe.wait(resumed, lambda: f"{what}; {self.servo[-1:]}; {self.teleop[-1:]}", timeout_s=timeout_s)

    def sources(self) -> list[str]:
        """Who moved the arm, in order, without repetition."""
        named = [message.source for message in self.commanded if message.source]
        return [source for index, source in enumerate(named) if index == 0 or named[index - 1] != source]


@pytest.fixture
def bench(patient_site: Path, start_node: StartNode, probe: Probe) -> Bench:
    return Bench(probe, start_node, patient_site)


def test_a_person_takes_over_in_the_middle_of_a_run_and_the_policy_finishes_it(bench: Bench, tmp_path: Path) -> None:
    probe, client = bench.probe, ActionClient(bench.probe.node, RunPolicy, graph.RUN_POLICY.name)
    probe.wait(client.server_is_ready, "the policy")
    push = {"duration_s": 1.0, "velocity": [0.0, 0.05, 0.03, 0.0, 0.0, 0.0]}
    away = {"velocity": STILL, "enabled": False}
    with WorldClient(HOST) as world:
        for seed in range(MAX_ATTEMPTS):
            bench.wait(lambda: bench.servo and bench.servo[-1].state == ServoStatus.HOLDING, "the servo to engage")
            start = world.reset(task="bottle_in_bin", seed=seed)
            begin_ns = SystemClock().now_ns() + 6 * NS_PER_S
            steps = [{**away, "duration_s": 1.5}, push, {**away, "duration_s": 60.0}]
            device = tmp_path / "device.json"
            device.write_text(json.dumps({"kind": "scripted", "start_ns": begin_ns, "steps": steps}))
            node = bench.start_node("teleop_node", name="teleop", site=bench.site, device=device, start_active=True)
            seen = len(bench.teleop)
            probe.wait(lambda seen=seen: len(bench.teleop) > seen, "the device")
            del bench.commanded[:], bench.teleop[:]
            probe.wait(lambda begin_ns=begin_ns: SystemClock().now_ns() > begin_ns, "the script to begin")
            goal = RunPolicy.Goal(instruction=start.instruction, time_limit=duration_from_ns(60 * NS_PER_S))
            accepted = client.send_goal_async(goal)
            probe.wait(accepted.done, "an answer to the goal")
            ended = accepted.result().get_result_async()
            probe.wait(ended.done, "the end of the run", timeout_s=90.0)
            node.terminate()
            node.wait()
            if ended.result().result.outcome != RunPolicy.Result.ARM_STOPPED:
                break  # else the machine was too crowded
    client.destroy()
    result = ended.result().result
    assert result.success, result.reason
    assert bench.sources() == ["scripted", "teleop/scripted", "scripted"]
    assert {status.takeover for status in bench.teleop if status.engaged} == {True}


@pytest.mark.parametrize("task", TASKS)
def test_the_expert_does_every_task_with_a_stick(bench: Bench, task: str) -> None:
    bench.start_node(
        "teleop_node",
        name="teleop",
        site=bench.site,
        device="expert",
        world_host=HOST,
        stop_within_ms=200.0,
        start_active=True,
    )
    bench.wait(lambda: bench.servo and bench.servo[-1].state == ServoStatus.HOLDING, "the servo to engage")
    with WorldClient(HOST) as world:
        world.reset(task=task, seed=1)
        bench.wait(lambda: world.success().done, f"{task} to be done", timeout_s=180.0)
        bench.wait(lambda: not bench.teleop[-1].engaged, "it to let go")
        bench.wait(lambda: bench.teleop[-1].engaged, "it to take the arm home")
        bench.wait(lambda: not bench.teleop[-1].engaged, "it to be there")
    assert all(is_teleop(source) for source in bench.sources())
