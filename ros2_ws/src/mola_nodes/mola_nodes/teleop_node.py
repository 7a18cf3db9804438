"""A person's device on the graph: its motion becomes action chunks through the one door, its state a topic."""

import itertools
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn

from std_msgs.msg import Bool, String

from mola_core.contracts.clock import NS_PER_MS
from mola_core.contracts.errors import ConfigError
from mola_core.contracts.site import load_site
from mola_core.contracts.teleop import Press
from mola_core.contracts.types import ActionChunk
from mola_core.control.teleop.session import TeleopSession, TeleopView
from mola_core.control.teleop.settings import FRAME_NAMES, EngageMode, TeleopSettings
from mola_nodes import graph
from mola_nodes.conversions.motion import message_from_chunk
from mola_nodes.conversions.teleop import teleop_diagnostic, teleop_status_message
from mola_nodes.diagnostics import diagnostic_array
from mola_nodes.lifecycle import MolaNode
from mola_nodes.params import Param, SiteParams
from mola_nodes.process import Ending, run_node
from mola_nodes.teleop.device_loop import DeviceLoop
from mola_nodes.teleop.devices import make_device
from mola_nodes.teleop.rig_inputs import RigInputs

_PRESSES = {
    Press.FASTER: graph.TELEOP_FASTER,
    Press.SLOWER: graph.TELEOP_SLOWER,
    Press.NEXT_FRAME: graph.TELEOP_NEXT_FRAME,
}


@dataclass(frozen=True)
class TeleopParams(SiteParams):
    """Parameters of teleoperation; launch/params/teleop.yaml describes them."""

    device: Annotated[str, Param("spacemouse, gamepad, keyboard, gello, freedrive, expert, or a device file")]
    engage: Annotated[str, Param("deadman: engaged while held; clutch: each press engages or lets go")] = "deadman"
    frame: Annotated[str, Param("Axes of sticks and keys at the start: base, tool or camera")] = "base"
    view: Annotated[str, Param("Camera meant by the frame called camera")] = "third_person"
    speed_scale: Annotated[float, Param("Of the device's full deflection", minimum=0.1, maximum=1.0)] = 1.0
    stop_within_ms: Annotated[
        float, Param("From letting go to rest; bounds the speed", unit="ms", minimum=100.0, maximum=1000.0)
    ] = 150.0
    leader_gate_rad: Annotated[
        float, Param("How near a leader must be to engage", unit="rad", minimum=0.02, maximum=0.25)
    ] = 0.15
    device_timeout_ms: Annotated[
        float, Param("A device read longer ago is lost", unit="ms", minimum=20.0, maximum=500.0)
    ] = 100.0
    rate_hz: Annotated[float, Param("Readings of the device", unit="Hz", minimum=50.0, maximum=250.0)] = 100.0
    world_host: Annotated[str, Param("Address of the twin's world, for the expert")] = "127.0.0.2"
    start_active: Annotated[bool, Param("Activate by itself, where no lifecycle manager knows this node")] = False


class TeleopNode(MolaNode[TeleopParams]):
    """Wires the device's loop, the session and the graph."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(graph.TELEOP, params_type=TeleopParams, ending=ending)
        # counts on over restarts of this node, so that its chunks are never taken for old ones
        self._sequence = itertools.count(self.system_clock.now_ns() // NS_PER_MS)
        if self.params.start_active:
            self._starter = self.create_timer(0.0, self._start)

    def configure(self, stack: ExitStack) -> None:
        """Read the site and the device's description, and see that the arm can stop in time."""
        self._site = load_site(Path(self.params.site))
        self._device = make_device(self.params.device, site=self._site, world_host=self.params.world_host)
        self._settings = _settings(self.params)
        self._make_session()
        self._chunks = self.open_publisher(graph.ACTION_CHUNK, stack)
        self._hand = self.open_publisher(graph.HAND_GUIDANCE, stack)
        self._status = self.open_publisher(graph.TELEOP_STATUS, stack)
        self._episode_keys = self.open_publisher(graph.EPISODE_KEY, stack)
        self._diagnostics = self.open_publisher(graph.DIAGNOSTICS, stack)

    def activate(self, stack: ExitStack) -> None:
        """Open the device and follow it."""
        rig = RigInputs()
        self.open_subscription(graph.COMMANDED, rig.note_commanded, stack)
        self.open_subscription(graph.ROBOT_STATE, rig.note_state, stack)
        self.open_subscription(graph.SERVO_STATUS, rig.note_servo, stack)
        self._loop = DeviceLoop(
            self._device,
            session=self._make_session(),
            rig=rig.view,
            send=self._send,
            guide=lambda wanted: self._hand.publish(Bool(data=wanted)),
            say=self._say,
            record=lambda press: self._episode_keys.publish(String(data=press.value)),
            rate_hz=self.params.rate_hz,
            clock=self.system_clock,
        )
        stack.enter_context(self._loop)
        for press, service in _PRESSES.items():
            self.open_service(service, partial(self._on_press, press), stack)
        self.open_timer(1.0, self._publish_diagnostics, stack)

    def _make_session(self) -> TeleopSession:
        return TeleopSession(self._site, device=self._device.name, settings=self._settings, sequence=self._sequence)

    def _send(self, chunk: ActionChunk) -> None:
        self._chunks.publish(message_from_chunk(chunk))

    def _say(self, view: TeleopView) -> None:
        self._status.publish(teleop_status_message(view, device=self._device.name))

    def _on_press(self, press: Press, _request: Any, response: Any) -> Any:
        self._loop.press(press)
        response.success, response.message = True, "teleop_status says what came of it"
        return response

    def _publish_diagnostics(self) -> None:
        if self._loop.has_failed:
            self.ending.request(exit_code=1)
        if self._loop.view is not None:
            status = teleop_diagnostic(self._loop.view, device=self._device.name)
            self._diagnostics.publish(diagnostic_array(status, stamp_ns=self.system_clock.now_ns()))

    def _start(self) -> None:
        self._starter.cancel()
        self.trigger_configure()
        self.trigger_activate()


def _settings(params: TeleopParams) -> TeleopSettings:
    modes = {mode.value: mode for mode in EngageMode}
    for name, value, known in (("engage", params.engage, modes), ("frame", params.frame, FRAME_NAMES)):
        if value not in known:
            raise ConfigError(f"parameter {name!r} must be one of {', '.join(known)}, got {value!r}")
    return TeleopSettings(
        engage=modes[params.engage],
        frame=FRAME_NAMES[params.frame],
        view=params.view,
        speed_scale=params.speed_scale,
        stop_within_s=params.stop_within_ms / 1e3,
        leader_gate_rad=params.leader_gate_rad,
        device_timeout_s=params.device_timeout_ms / 1e3,
    )


def main() -> NoReturn:
    """Entry point of the executable."""
    run_node(TeleopNode)
