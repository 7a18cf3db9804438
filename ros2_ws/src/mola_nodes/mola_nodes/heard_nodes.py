"""What the lifecycle manager makes of the heartbeats that it hears."""

from collections.abc import Callable, Mapping, Sequence

from mola_interfaces.msg import NodeHeartbeat

from mola_core.contracts.clock import NS_PER_MS, Clock
from mola_core.contracts.errors import ConfigError
from mola_nodes.conversions.wire import MessageError, check_version
from mola_nodes.node_watch import Change, NodeWatch
from mola_nodes.turns import log_of_refused


class HeardNodes:
    """Called by one thread at a time."""

    def __init__(self, watches: Mapping[str, NodeWatch], *, clock: Clock, warn: Callable[[str], object]) -> None:
        """``watches`` by the fully qualified names of their nodes."""
        self._watches = watches
        self._clock = clock
        self._warn = warn
        # one for each node: another one's refusals must not silence the first
        self._refused = {name: log_of_refused("heartbeat", warn=warn, clock=clock) for name in watches}

    def note(self, message: NodeHeartbeat) -> None:
        """Take a heartbeat in. That of a stranger is passed over; one of another version is logged, and counts as silence."""
        watch = self._watches.get(message.node)
        if watch is None:
            return
        try:
            check_version(message, sender=watch.name)
        except MessageError as error:
            watch.refuse(str(error))
            self._refused[watch.name](error)
            return
        now_ns = self._clock.monotonic_ns()
        change = watch.beat(now_ns=now_ns, pid=message.pid, state=message.state, problem=message.problem)
        if change in {Change.RESTARTED, Change.ANSWERS_AGAIN}:
            self._warn(f"{watch.name} {change.value} (pid {message.pid})")


def watches_of(names: Sequence[str], *, namespace: str, timeout_ms: int) -> dict[str, NodeWatch]:
    """A watch for each node by its fully qualified name, in the order given; names without a leading / are in ``namespace``.

    Raises:
        ConfigError: no names, or one twice.
    """
    full_names = [name if name.startswith("/") else f"{namespace.rstrip('/')}/{name}" for name in names]
    if not full_names or len(set(full_names)) != len(full_names):
        raise ConfigError(f"parameter 'managed_nodes' must name each node once, got {list(names)}")
    return {name: NodeWatch(name=name, timeout_ns=timeout_ms * NS_PER_MS) for name in full_names}
