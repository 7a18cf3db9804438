"""A replay on a running graph: beside it, through the same topics as any source of chunks."""

import itertools
from collections.abc import Callable
from functools import partial

from mola_interfaces.action import RunPolicy
from sensor_msgs.msg import Image

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S, SystemClock
from mola_core.contracts.errors import MolaError
from mola_core.contracts.site import Site
from mola_core.data.replay.chunks import SOURCE
from mola_core.data.replay.track import Track
from mola_nodes import graph
from mola_nodes.conversions.motion import message_from_chunk, robot_state_from_message
from mola_nodes.conversions.wire import ns_from_time
from mola_nodes.demo.operator_client import OperatorClient
from mola_nodes.policy.inputs import NewestInputs
from mola_nodes.policy.rollout import Planner, Progress, Rollout, RolloutEnd
from mola_nodes.replay.planner import ApproachPlanner, TrackPlanner, World

_INPUTS_S = 20.0
_SLACK_NS = 90 * NS_PER_S
_SAY_EVERY_NS = 5 * NS_PER_S


class GraphReplay:
    """Sees and moves the arm of a running graph on behalf of a recording."""

    def __init__(self, track: Track, *, site: Site, operator: OperatorClient, say: Callable[[str], None]) -> None:
        """Subscribe; nothing moves yet."""
        self._track, self._operator, self._say = track, operator, say
        self._clock = SystemClock()
        self._inputs = NewestInputs(site.cameras, lost_after_ms=2 * site.safety.stale_ms, clock=self._clock)
        self._sequence = itertools.count(self._clock.now_ns() // NS_PER_MS)
        for role in site.cameras:
            operator.subscribe(graph.camera_topics(role).color, partial(self._note_frame, role))
        operator.subscribe(
            graph.ROBOT_STATE, lambda message: self._inputs.note_state(robot_state_from_message(message))
        )
        operator.subscribe(graph.SERVO_STATUS, self._inputs.note_servo)
        topic = graph.ACTION_CHUNK
        self._chunks = operator.node.create_publisher(topic.type, topic.name, topic.qos)

    def _note_frame(self, role: str, message: Image) -> None:
        self._inputs.note_frame(role, ns_from_time(message.header.stamp))

    def run(self, *, world: World | None, set_up: Callable[[], object]) -> RolloutEnd:
        """Resume the arm, go slowly to the recorded start, ``set_up`` the scene, do the motion; the arm is left at rest.

        Raises:
            MolaError: the graph sends no cameras or states, or the arm does not engage.
        """
        self._operator.resume()
        self._wait_for_inputs()
        there = self._roll_out(ApproachPlanner(self._track, inputs=self._inputs, clock=self._clock))
        if there.outcome != RunPolicy.Result.SUCCEEDED:
            return there
        set_up()
        return self._roll_out(TrackPlanner(self._track, world=world, inputs=self._inputs, clock=self._clock))

    def _wait_for_inputs(self) -> None:
        inputs = self._inputs
        try:
            self._operator.wait_for(
                lambda: not inputs.missing() and inputs.servo_is_engaged, "inputs", timeout_s=_INPUTS_S
            )
        except MolaError as error:
            raise MolaError(f"the graph is not ready to move: {inputs.missing() or error}") from error

    def _roll_out(self, planner: Planner) -> RolloutEnd:
        rollout = Rollout(
            source=SOURCE,
            planner=planner,
            inputs=self._inputs,
            send=lambda chunk: self._chunks.publish(message_from_chunk(chunk)),
            next_sequence=self._sequence.__next__,
            clock=self._clock,
        )
        limit_ns = self._track.duration_ns + _SLACK_NS
        return rollout.run(time_limit_ns=limit_ns, cancelled=lambda: False, progress=_Announcer(self._say).note)


class _Announcer:
    """Says the phase every few seconds."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._next_ns = 0

    def note(self, progress: Progress) -> None:
        """After every chunk."""
        if progress.elapsed_ns >= self._next_ns:
            self._next_ns = progress.elapsed_ns + _SAY_EVERY_NS
            self._say(progress.phase)
