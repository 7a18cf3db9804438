"""Records episodes: every topic of the graph, as it comes, into a bag each; by service, by topic, by key."""

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, NoReturn

from mola_interfaces.srv import EpisodeControl
from std_msgs.msg import String

from mola_core.contracts.clock import NS_PER_MS
from mola_core.contracts.errors import MolaError
from mola_core.contracts.site import load_site
from mola_core.data.episodes.recording import RecordingLimits
from mola_core.data.episodes.recovery import unfinished
from mola_core.data.episodes.session import EpisodeRequest, RecorderSession
from mola_nodes import episode_keys, graph
from mola_nodes.conversions.episodes import episode_status_message
from mola_nodes.lifecycle import MolaNode
from mola_nodes.params import Param, SiteParams
from mola_nodes.process import Ending, run_node
from mola_nodes.raw_taker import RawTaker
from mola_nodes.recorded_streams import EpisodeDescriber, patient, recorded_streams

_STATUS_S = 0.25
_NONE = 0xFFFF_FFFF_FFFF_FFFF
"""The transport's word for a message without a running number."""


@dataclass(frozen=True)
class EpisodeRecorderParams(SiteParams):
    """Parameters of the episode recorder."""

    store: Annotated[str, Param("Folder of the episodes")] = "runs/episodes"
    operator: Annotated[str, Param("Who demonstrates, until START says otherwise")] = ""
    instruction: Annotated[str, Param("What is going to be done, until START says otherwise")] = ""
    row_period_ms: Annotated[
        float, Param("Distance of the rows of the datasets this is meant for", unit="ms", minimum=5, maximum=2000)
    ] = 100.0
    min_free_gb: Annotated[
        float, Param("Disk that must be left to start; recording ends at half of it", unit="GB", minimum=0, maximum=1e5)
    ] = 5.0
    queue_mb: Annotated[
        int, Param("Memory for messages that wait for the disk", unit="MB", minimum=8, maximum=65_536)
    ] = 200
    sync_s: Annotated[float, Param("What a power cut may cost", unit="s", minimum=0.1, maximum=600)] = 5.0


class EpisodeRecorderNode(MolaNode[EpisodeRecorderParams]):
    """Wires the topics to a session."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(graph.EPISODE_RECORDER, params_type=EpisodeRecorderParams, ending=ending)

    def configure(self, stack: ExitStack) -> None:
        """Read the site, and the definitions of everything that will be recorded."""
        site = load_site(Path(self.params.site))
        self._streams = recorded_streams(site)
        self._topics = graph.recorded_topics(roles=site.cameras)
        self._status = self.open_publisher(graph.EPISODE_STATUS, stack)
        self._describe = EpisodeDescriber(site, period_ns=round(self.params.row_period_ms * NS_PER_MS))

    def activate(self, stack: ExitStack) -> None:
        """Take the store, and listen to everything."""
        params = self.params
        session = RecorderSession(
            Path(params.store).expanduser().absolute(),
            streams=self._streams,
            describe=self._describe,
            clock=self.system_clock,
            min_free_bytes=round(params.min_free_gb * 1e9),
            limits=RecordingLimits(queue_bytes=params.queue_mb * 1_000_000, sync_s=params.sync_s),
            obstacles=self._other_recorders,
            request=EpisodeRequest(instruction=params.instruction, operator=params.operator),
        )
        self._session = stack.enter_context(session)
        for left in unfinished(session.store.root):
            self.get_logger().warning(f"{left} was never ended; mola episode recover makes an episode of it")
        taker = RawTaker(self, troubles=self.troubles("raw taker"))
        for index, topic in enumerate(self._topics):
            taker.subscribe(patient(topic), partial(self._on_message, index), stack)
        stack.enter_context(taker)
        self.open_subscription(graph.EPISODE_KEY, self._on_key, stack)
        self.open_service(graph.EPISODE_CONTROL, self._on_control, stack)
        self.open_timer(_STATUS_S, self._on_timer, stack)

    def _on_message(self, index: int, data: bytes, info: dict[str, int]) -> None:
        number = info["publication_sequence_number"]
        self._session.offer(
            index,
            data,
            received_ns=info["received_timestamp"],
            sent_ns=info["source_timestamp"],
            sequence=None if number in (None, _NONE) else number,
        )

    def _on_control(
        self, request: EpisodeControl.Request, response: EpisodeControl.Response
    ) -> EpisodeControl.Response:
        response.episode_id, done = episode_keys.command(self._session, request)
        response.success, response.message = True, f"episode {response.episode_id}: {done}"
        self.get_logger().info(response.message)
        self._publish()
        return response

    def _on_key(self, message: String) -> None:
        episode_id = episode_keys.press(self._session, message.data)
        self.get_logger().info(f"{message.data.strip()}: episode {episode_id}")
        self._publish()

    def _on_timer(self) -> None:
        try:
            self._session.tick()
        except MolaError as error:
            self.get_logger().error(str(error))
        self._publish()

    def _publish(self) -> None:
        self._status.publish(episode_status_message(self._session.status(), now_ns=self.system_clock.now_ns()))

    def _other_recorders(self) -> list[str]:
        others = self.count_publishers(graph.EPISODE_STATUS.name) - 1
        return [f"{others} other recorder in the graph; stop it"] if others > 0 else []


def main() -> NoReturn:
    """Entry point of the executable."""
    run_node(EpisodeRecorderNode, urgent=False)
