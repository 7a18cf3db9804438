"""The one door to arm and gripper: chunks in, states out, stop and resume. The servo itself runs in its own process."""

import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

from mola_interfaces.msg import ActionChunk, NodeHeartbeat
from mola_interfaces.srv import Resume, Stop
from std_msgs.msg import Bool

from mola_core.contracts.clock import NS_PER_MS
from mola_core.contracts.errors import ChunkRejectedError
from mola_core.contracts.site import load_site
from mola_drivers.gripper.factory import make_gripper
from mola_nodes import graph
from mola_nodes.camera_latency import CameraLatency
from mola_nodes.chunk_door import ChunkDoor
from mola_nodes.conversions.servo import DoorRecord, camera_to_servo_hop, servo_diagnostic, servo_status_message
from mola_nodes.conversions.wire import check_version, ns_from_time
from mola_nodes.diagnostics import diagnostic_array, gripper_diagnostic
from mola_nodes.latency import LatencyWindow
from mola_nodes.lifecycle import MolaNode
from mola_nodes.link_folder import make_link_folder
from mola_nodes.params import SiteParams
from mola_nodes.plan_tally import PlanTally
from mola_nodes.process import Ending, run_node
from mola_nodes.servo_supervisor import ServoSupervisor
from mola_nodes.state_publisher import StatePublisher

_STATUS_S, _REPORT_S = 0.05, 1.0
_LOG_EVERY_S = 2.0


class ControllerNode(MolaNode[SiteParams]):
    """Wires the servo supervisor, the gripper and the graph."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(graph.CONTROLLER, params_type=SiteParams, ending=ending)

    def configure(self, stack: ExitStack) -> None:
        """Read the site and open the topics that exist without an arm."""
        self._site = load_site(Path(self.params.site))
        self._servo_status = self.open_publisher(graph.SERVO_STATUS, stack)
        self._latency_reports = self.open_publisher(graph.LATENCY, stack)
        self._diagnostics = self.open_publisher(graph.DIAGNOSTICS, stack)

    def activate(self, stack: ExitStack) -> None:
        """Connect arm and gripper and open the door; the arm stays stopped until somebody resumes."""
        clock = self.system_clock
        folder = make_link_folder()
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        self._gripper = stack.enter_context(make_gripper(spec=self._site.gripper, clock=clock))
        self._supervisor = stack.enter_context(
            ServoSupervisor(Path(self.params.site), folder, clock=clock, on_bug=self.report_bug)
        )
        self._door = ChunkDoor(self._site, supervisor=self._supervisor, clock=clock)
        self._manager_beat_ns: int | None = None
        self._window = LatencyWindow(now_ns=clock.now_ns())
        self._plans = PlanTally()
        publisher = StatePublisher(
            self,
            status=self._supervisor.status,
            arm=self._site.arm,
            gripper=self._gripper,
            clock=clock,
            stack=stack,
        )
        stack.enter_context(publisher)
        self.open_urgent_subscription(graph.HEARTBEAT, self._on_heartbeat, stack)
        self.open_subscription(graph.HAND_GUIDANCE, self._on_hand, stack)
        self.open_stamped_subscription(graph.ACTION_CHUNK, self._on_chunk, stack)
        for role in self._site.cameras:
            hops = CameraLatency(role, window=self._window)
            self.open_stamped_subscription(graph.camera_topics(role).color_metadata, hops.on_metadata, stack)
        self.open_service(graph.STOP, self._on_stop, stack)
        self.open_service(graph.RESUME, self._on_resume, stack)
        self.open_timer(_STATUS_S, self._publish_status, stack)
        self.open_timer(_REPORT_S, self._publish_report, stack)
        self._publish_status()

    def _on_heartbeat(self, message: NodeHeartbeat) -> None:
        check_version(message, sender=message.node)
        self._manager_beat_ns = self.system_clock.monotonic_ns()
        self._supervisor.note_manager_beat()

    def _on_hand(self, message: Bool) -> None:
        if message.data:
            self._supervisor.guide_by_hand()

    def _on_chunk(self, message: ActionChunk, sent_ns: int) -> None:
        received_ns = self.system_clock.now_ns()
        try:
            self._door.take(message)
        except ChunkRejectedError as error:
            self.get_logger().warning(f"refused {error}", throttle_duration_sec=_LOG_EVERY_S)
            return
        if self._plans.note(message):  # one that is said again is older by design, not by latency
            self._window.add("oldest input to chunk sent", start_ns=ns_from_time(message.stamp), end_ns=sent_ns)
        self._window.add("chunk sent to chunk received", start_ns=sent_ns, end_ns=received_ns)
        self._window.add("chunk received to servo", start_ns=received_ns, end_ns=self.system_clock.now_ns())

    def _on_stop(self, request: Stop.Request, response: Stop.Response) -> Stop.Response:
        self._supervisor.stop(request.reason or "stopped by the operator")
        self.get_logger().warning(f"stop: {request.reason or 'no reason given'}")
        response.success, response.message = True, "braking; nothing moves until resume"
        return response

    def _on_resume(self, request: Resume.Request, response: Resume.Response) -> Resume.Response:
        status = self._supervisor.status()
        self._supervisor.resume()
        self.get_logger().info(f"resume by {request.operator_name or 'an operator without a name'}")
        response.success = status.servo is not None
        response.message = (
            "asked to engage; servo_status says when it has"
            if response.success
            else f"the arm is not connected: {status.problem}; connecting again (and unlocking a protective stop), "
            "resume once servo_status says STOPPED"
        )
        return response

    def _publish_status(self) -> None:
        status, now_ns = self._supervisor.status(), self.system_clock.now_ns()
        refusal = self._door.note(status)
        if refusal:
            self.get_logger().warning(refusal, throttle_duration_sec=_LOG_EVERY_S)
        beat_ns = self._manager_beat_ns
        door = DoorRecord(
            accepted=self._door.accepted,
            rejected=self._door.rejected,
            last_rejection=self._door.last_rejection,
            restarts=status.restarts,
            heartbeat_age_ms=-1.0 if beat_ns is None else (self.system_clock.monotonic_ns() - beat_ns) / NS_PER_MS,
            offline_reason=status.problem,
        )
        self._last_status = servo_status_message(status.servo, door=door, now_ns=now_ns)
        self._servo_status.publish(self._last_status)

    def _publish_report(self) -> None:
        now_ns = self.system_clock.now_ns()
        whole_path = camera_to_servo_hop(self._supervisor.status().servo)
        self._latency_reports.publish(self._window.report(now_ns=now_ns, first=[whole_path]))
        statuses = (servo_diagnostic(self._last_status), gripper_diagnostic(self._gripper.state()))
        self._diagnostics.publish(diagnostic_array(*statuses, stamp_ns=now_ns))


def main() -> NoReturn:
    """Entry point of the executable."""
    run_node(ControllerNode)
