"""How long a frame takes to the camera node and through it."""

from std_msgs.msg import String

from mola_nodes.conversions.images import capture_and_receive_ns
from mola_nodes.latency import LatencyWindow


class CameraLatency:
    """The hops of one camera, from the metadata of its frames."""

    def __init__(self, role: str, *, window: LatencyWindow) -> None:
        self._capture_hop = f"capture to camera node ({role})"
        self._publish_hop = f"camera node to published ({role})"
        self._window = window

    def on_metadata(self, message: String, sent_ns: int) -> None:
        """Take one frame's metadata, sent at ``sent_ns`` just before the frame itself."""
        capture_ns, received_ns = capture_and_receive_ns(message)
        self._window.add(self._capture_hop, start_ns=capture_ns, end_ns=received_ns)
        self._window.add(self._publish_hop, start_ns=received_ns, end_ns=sent_ns)
