"""Names of nodes and namespaces: joined as launch_ros joins them, checked by rmw's rules."""

import re

from mola_core.launching.context import LaunchContext, Text

NAMESPACE = "ros_namespace"
"""The launch configuration through which ``push_ros_namespace`` reaches nodes."""

_NODE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAMESPACE = re.compile(r"/|(/[A-Za-z_][A-Za-z0-9_]*)+")


def node_name(text: Text, context: LaunchContext) -> str:
    """The node's name, checked."""
    name = text.evaluate(context)
    if not _NODE_NAME.fullmatch(name):
        raise text.error(f"{name!r} is not a node name; letters, digits and _ make one, a digit cannot begin it")
    return name


def node_namespace(text: Text | None, context: LaunchContext) -> str | None:
    """The node's absolute namespace; None where neither it nor what surrounds it has one."""
    pushed = context.configurations.get(NAMESPACE)
    if text is None:
        return None if pushed is None else _absolute(_joined(pushed, None))
    return pushed_namespace(pushed, text, context)


def pushed_namespace(before: str | None, text: Text, context: LaunchContext) -> str:
    """The absolute namespace of ``text`` under ``before``, checked."""
    namespace = _absolute(_joined(before, text.evaluate(context)))
    if not _NAMESPACE.fullmatch(namespace):
        raise text.error(f"{namespace!r} is not a namespace; it is made of node names, each after a /")
    return namespace


def qualified(namespace: str, name: str) -> str:
    """The full name of node ``name``."""
    return _joined(namespace, name)


def _joined(base: str | None, name: str | None) -> str:
    if name is None:
        joined = base or ""
    elif not base or name.startswith("/"):
        joined = name
    else:
        joined = f"{'' if base == '/' else base}/{name}"
    return joined if joined == "/" else joined.rstrip("/")


def _absolute(namespace: str) -> str:
    return namespace if namespace.startswith("/") else f"/{namespace}"
