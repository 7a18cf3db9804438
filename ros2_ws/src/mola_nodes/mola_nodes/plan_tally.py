"""Plans told apart from their repetitions: a source says its running plan again whenever it has seen more."""

from mola_interfaces.msg import ActionChunk

from mola_nodes.conversions.wire import ns_from_time


class PlanTally:
    """Follows the chunk messages of a graph; belongs to the thread that hears them, its counts may be read by any."""

    def __init__(self) -> None:
        self.messages = 0
        """Chunks heard."""
        self.plans = 0
        """Distinct plans among them."""
        self._last: dict[str, tuple[str, int]] = {}
        """Source → bundle and start of its last plan."""

    def note(self, message: ActionChunk) -> bool:
        """Take in a chunk; whether it holds a plan that its source had not said before.

        A plan is known by when its first row is meant: said again it has fresher stamps, and coming to rest it is cut short.
        """
        self.messages += 1
        plan = (message.bundle_id, ns_from_time(message.start))
        if self._last.get(message.source) == plan:
            return False
        self._last[message.source] = plan
        self.plans += 1
        return True
