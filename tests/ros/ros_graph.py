"""Asking the running graph what it is."""

from rclpy.node import Node, NodeNameNonExistentError
from ros_probe import Probe
from std_srvs.srv import Trigger

from mola_nodes import graph
from mola_nodes.graph import NodeGraph, Topic

STANDARD_TOPICS = ("/rosout", "/parameter_events")


def type_name(interface: type, kind: str) -> str:
    return f"{interface.__module__.split('.')[0]}/{kind}/{interface.__name__}"


def own(node: NodeGraph, ends: list[tuple[str, list[str]]]) -> set[tuple[str, str]]:
    """Name and type of the ends that this node does not share with every ROS node."""
    standard = (*STANDARD_TOPICS, f"{node.full_name}/")
    return {(name, types[0]) for name, types in ends if not name.startswith(standard) and "/_action/" not in name}


def topics(declared: tuple[Topic, ...]) -> set[tuple[str, str]]:
    return {(topic.name, type_name(topic.type, "msg")) for topic in declared}


def difference(seen_by: Node, node: NodeGraph) -> dict[str, object]:
    """What the running node has more or less than declared; empty if nothing."""
    arguments = (node.name, graph.NAMESPACE)
    try:
        seen = {
            "publishes": own(node, seen_by.get_publisher_names_and_types_by_node(*arguments)),
            "subscribes": own(node, seen_by.get_subscriber_names_and_types_by_node(*arguments)),
            "serves": own(node, seen_by.get_service_names_and_types_by_node(*arguments)),
        }
    except NodeNameNonExistentError:  # its ends were discovered before the node itself
        return {"discovered": False}
    declared = {
        "publishes": topics(node.publishes),
        "subscribes": topics(node.subscribes),
        "serves": {(service.name, type_name(service.type, "srv")) for service in node.serves},
    }
    return {kind: seen[kind] ^ declared[kind] for kind in seen if seen[kind] != declared[kind]}


def wait_all_active(probe: Probe) -> None:
    def active() -> bool:
        return probe.call(Trigger, graph.ALL_ACTIVE.name, Trigger.Request()).success

    probe.wait(active, "all nodes to be active")
