"""The running graph against the module that declares it: every node, end, type and QoS, and nothing else."""

from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

import pytest
from ros_graph import difference, wait_all_active
from ros_probe import Probe

from mola_nodes import graph
from mola_nodes.graph import Topic

ROLES = ("third_person", "wrist")
# the policy is compared where its world is (test_scripted_policy_node.py)
NODES = tuple(node for node in graph.nodes(roles=ROLES) if node.name != graph.POLICY)
StartNode = Callable[..., "Popen[str]"]


@pytest.fixture
def running(twin: None, site: Path, start_node: StartNode, probe: Probe, tmp_path: Path) -> None:
    """All nodes, active."""
    for role in ROLES:
        start_node("camera_node", name=graph.camera_node_name(role), site=site, camera=role)
    start_node("controller_node", name=graph.CONTROLLER, site=site)
    start_node("episode_recorder_node", name=graph.EPISODE_RECORDER, site=site, store=tmp_path / "store")
    managed = [node.name for node in NODES if node.name != graph.LIFECYCLE_MANAGER]
    start_node("lifecycle_manager_node", name=graph.LIFECYCLE_MANAGER, managed_nodes=f"[{', '.join(managed)}]")
    wait_all_active(probe)


def test_running_graph_is_the_declared_one(running: None, probe: Probe) -> None:
    for node in NODES:
        probe.wait(
            lambda node=node: not difference(probe.node, node),
            lambda node=node: f"{node.name}: {difference(probe.node, node)}",
        )
    seen = {name for name, namespace in probe.node.get_node_names_and_namespaces() if namespace == graph.NAMESPACE}
    assert seen == {node.name for node in NODES}
    for node in NODES:
        for topic in node.publishes:
            for end in probe.node.get_publishers_info_by_topic(topic.name):
                if f"{end.node_namespace}/{end.node_name}" == node.full_name:
                    assert end.qos_profile.reliability == topic.qos.reliability, topic.name
                    assert end.qos_profile.durability == topic.qos.durability, topic.name


def test_a_name_means_one_thing() -> None:
    by_name: dict[str, Topic] = {}
    for node in graph.nodes(roles=ROLES):
        for topic in (*node.publishes, *node.subscribes):
            assert by_name.setdefault(topic.name, topic) == topic
