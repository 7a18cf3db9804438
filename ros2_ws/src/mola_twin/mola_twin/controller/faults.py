"""Port 30152: the fault channel. One JSON object a line, one back: ``{"ok": true, ...}`` or ``{"ok": false, "error": ...}``.

===================== =========================================================================================
``op``                 what it does
===================== =========================================================================================
``fault``              switches the fault ``name`` ``on`` (true or false), with the fields of :data:`FAULTS`
``status``             modes, program, joints, connected clients, faults in force
``trace``              the last ``seconds`` of the 500 Hz record, base64 of :data:`mola_twin.controller.trace.TRACE_DTYPE`
===================== =========================================================================================
"""

import base64
import json
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mola_twin.controller.cell_link import CAMERAS
from mola_twin.controller.connection import Connection, LinkCondition
from mola_twin.controller.gripper import Gripper
from mola_twin.controller.robot import Robot
from mola_twin.controller.trace import Trace

log = logging.getLogger(__name__)

PORT = 30152
_MAX_LINE = 1 << 16


class BadRequestError(Exception):
    """The request cannot be meant."""


@dataclass(slots=True)
class FaultTargets:
    """What faults act on."""

    robot: Robot
    gripper: Gripper
    link: LinkCondition
    trace: Trace
    drop_link: Callable[[float], None]
    """Close every client's socket and refuse new ones for so many seconds."""
    drop_camera: Callable[[int, bool], None]
    """Camera index, on."""
    count_clients: Callable[[], dict[str, int]]
    missed_ticks: Callable[[], int]
    active: set[str] = field(default_factory=set)


Fields = dict[str, Any]


def _number(fields: Fields, name: str, *, default: float, high: float) -> float:
    value = fields.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= high:
        raise BadRequestError(f"{name} must be a number from 0 to {high:g}, got {value!r}")
    return float(value)


def _protective_stop(targets: FaultTargets, *, on: bool, fields: Fields) -> None:
    if not on:
        raise BadRequestError("a protective stop is not switched off but unlocked, through the dashboard")
    targets.robot.protective_stop(str(fields.get("reason", "injected")))


def _emergency_stop(targets: FaultTargets, *, on: bool, fields: Fields) -> None:  # noqa: ARG001
    if on:
        targets.robot.emergency_stop()
    else:
        targets.robot.release_emergency_stop()


def _safeguard_stop(targets: FaultTargets, *, on: bool, fields: Fields) -> None:  # noqa: ARG001
    targets.robot.safeguard_stop(on=on)


def _link_drop(targets: FaultTargets, *, on: bool, fields: Fields) -> None:
    if on:
        targets.drop_link(_number(fields, "refuse_s", default=0.0, high=600.0))


def _silent_link(targets: FaultTargets, *, on: bool, fields: Fields) -> None:  # noqa: ARG001
    targets.link.silent = on


def _slow_link(targets: FaultTargets, *, on: bool, fields: Fields) -> None:
    targets.link.delay_s = _number(fields, "delay_ms", default=20.0, high=10_000.0) / 1e3 if on else 0.0
    targets.link.jitter_s = _number(fields, "jitter_ms", default=0.0, high=10_000.0) / 1e3 if on else 0.0


def _local_mode(targets: FaultTargets, *, on: bool, fields: Fields) -> None:  # noqa: ARG001
    targets.robot.remote_control = not on


def _camera_drop(targets: FaultTargets, *, on: bool, fields: Fields) -> None:
    camera = fields.get("camera")
    if camera not in CAMERAS:
        raise BadRequestError(f"camera must be one of {', '.join(CAMERAS)}, got {camera!r}")
    targets.drop_camera(CAMERAS.index(camera), on)


def _gripper_stuck(targets: FaultTargets, *, on: bool, fields: Fields) -> None:  # noqa: ARG001
    targets.gripper.stuck = on


def _power_off(targets: FaultTargets, *, on: bool, fields: Fields) -> None:  # noqa: ARG001
    if not on:
        raise BadRequestError("the robot is switched on through the dashboard: power on, brake release")
    targets.robot.power_off()


def _hand(targets: FaultTargets, *, on: bool, fields: Fields) -> None:
    torques = fields.get("torques", [0.0] * 6)
    if not isinstance(torques, list) or len(torques) != 6 or not all(_finite(value) for value in torques):
        raise BadRequestError(f"torques must be six finite numbers (N m), got {torques!r}")
    seconds = _number(fields, "seconds", default=1.0, high=600.0)
    targets.robot.push(torques, duration_s=seconds if on else 0.0)


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


FAULTS: dict[str, tuple[Callable[..., None], str]] = {
    "protective_stop": (_protective_stop, "as after a collision; reason"),
    "emergency_stop": (_emergency_stop, "button pressed (on) or turned back (off)"),
    "safeguard_stop": (_safeguard_stop, "safeguard input open or closed"),
    "link_drop": (_link_drop, "every client's socket is closed; refuse_s: new ones are refused for so long"),
    "silent_link": (_silent_link, "sockets stay open, nothing is read or sent"),
    "slow_link": (_slow_link, "delay_ms and jitter_ms in each direction"),
    "local_mode": (_local_mode, "remote control is off"),
    "camera_drop": (_camera_drop, "camera (third_person or wrist) delivers nothing"),
    "gripper_stuck": (_gripper_stuck, "the fingers do not move"),
    "power_off": (_power_off, "the arm is switched off"),
    "hand": (_hand, "a hand pushes for seconds with torques (N m); felt in freedrive"),
}
"""What each fault does and takes, by name."""

_MOMENTARY = frozenset({"protective_stop", "link_drop", "power_off", "hand"})


def answer(targets: FaultTargets, request: object) -> dict[str, Any]:
    """Carry out one request; raises :class:`BadRequestError`."""
    if not isinstance(request, dict):
        raise BadRequestError(f"a request is a JSON object, got {request!r:.80}")
    match request.get("op"):
        case "fault":
            return _switch(targets, request)
        case "status":
            return _status(targets)
        case "trace":
            seconds = _number(request, "seconds", default=5.0, high=60.0)
            return {"rows": base64.b64encode(targets.trace.last(seconds)).decode("ascii")}
        case other:
            raise BadRequestError(f"op must be one of fault, status, trace, got {other!r}")


def _switch(targets: FaultTargets, request: Fields) -> dict[str, Any]:
    name, on = request.get("name"), request.get("on", True)
    if name not in FAULTS:
        raise BadRequestError(f"unknown fault {name!r}; known: {', '.join(sorted(FAULTS))}")
    if not isinstance(on, bool):
        raise BadRequestError(f"on must be true or false, got {on!r}")
    FAULTS[name][0](targets, on=on, fields=request)
    label = f"{name}:{request['camera']}" if name == "camera_drop" else name
    if on and name not in _MOMENTARY:
        targets.active.add(label)
    else:
        targets.active.discard(label)
    log.info("fault %s %s", label, "on" if on else "off")
    return {}


def _status(targets: FaultTargets) -> dict[str, Any]:
    robot, gripper = targets.robot, targets.gripper
    return {
        "time_s": robot.time_s,
        "robot_mode": robot.robot_mode.name,
        "safety_mode": robot.safety_mode.name,
        "runtime_state": robot.runtime_state.name,
        "program": robot.program.name if robot.program is not None else None,
        "watchdog_hz": 1.0 / robot.watchdog.period_s if robot.watchdog is not None else None,
        "popup": robot.popup,
        "safety_popup": robot.safety_popup,
        "remote_control": robot.remote_control,
        "joint_positions": list(robot.joints.positions),
        "joint_velocities": list(robot.joints.velocities),
        "target_positions": list(robot.joints.reference.positions),
        "speed_scaling": robot.speed_scaling,
        "tcp_offset": robot.tool.offset,
        "payload_kg": robot.payload_kg,
        "digital_outputs": robot.box.digital_outputs,
        "gripper_opening": gripper.opening,
        "gripper_target": gripper.target,
        "clients": targets.count_clients(),
        "faults": sorted(targets.active),
        "missed_ticks": targets.missed_ticks(),
    }


class FaultSession:
    """One client of the fault channel."""

    def __init__(self, connection: Connection, *, targets: FaultTargets) -> None:
        self._connection = connection
        self._targets = targets
        self._buffer = b""

    def received(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            if line.strip():
                self._connection.send(self._answer(line))
        if len(self._buffer) > _MAX_LINE:
            self._connection.alive = False

    def tick(self) -> None:
        """Speaks only when spoken to."""

    def closed(self) -> None:
        """Faults stay in force."""

    def _answer(self, line: bytes) -> bytes:
        try:
            reply = {"ok": True, **answer(self._targets, json.loads(line))}
        except (BadRequestError, ValueError) as error:
            reply = {"ok": False, "error": str(error)}
        return json.dumps(reply).encode() + b"\n"
