"""Port 30004: RTDE version 2, as the control, receive and io interfaces of ur_rtde use it."""

import logging
import struct

from mola_twin.controller.connection import Connection
from mola_twin.controller.robot import TICK_S, Robot
from mola_twin.controller.rtde_codec import (
    FrameReader,
    Layout,
    MalformedFrameError,
    Package,
    frame,
    variable_names,
)
from mola_twin.controller.rtde_inputs import INPUTS, InputRecipe
from mola_twin.controller.rtde_outputs import OUTPUTS, Read, View

log = logging.getLogger(__name__)

PORT = 30004
POLYSCOPE_VERSION = (5, 21, 0, 1210022)
"""Below 5.23, from which on ur_rtde's FLAG_UPPER_RANGE_REGISTERS breaks its control interface."""
_PROTOCOL_VERSION = 2
_MAX_RECIPES = 255


class InputOwners:
    """Which client writes which input; the controller gives each to one client at a time."""

    def __init__(self) -> None:
        self._owners: dict[str, RtdeSession] = {}

    def claim(self, name: str, session: "RtdeSession") -> bool:
        """False if another living client has it."""
        owner = self._owners.get(name)
        if owner is not None and owner is not session and not owner.hung_up():
            return False
        self._owners[name] = session
        return True

    def release(self, session: "RtdeSession") -> None:
        """Free everything that a client held."""
        self._owners = {name: owner for name, owner in self._owners.items() if owner is not session}


class RtdeSession:
    """One RTDE client."""

    def __init__(self, connection: Connection, *, robot: Robot, view: View, owners: InputOwners) -> None:
        self._connection = connection
        self._robot = robot
        self._view = view
        self._owners = owners
        self._frames = FrameReader()
        self._inputs: list[InputRecipe] = []
        self._outputs: tuple[Layout, list[Read]] | None = None
        self._recipe_id = 0
        self._started = False
        self._every = 1
        self._countdown = 0

    def received(self, data: bytes) -> None:
        try:
            for kind, payload in self._frames.feed(data):
                self._handle(kind, payload)
        except (MalformedFrameError, struct.error) as error:
            log.warning("rtde: client dropped, it sent a malformed package: %s", error)
            self._connection.alive = False

    def tick(self) -> None:
        if not self._started or self._outputs is None:
            return
        self._countdown -= 1
        if self._countdown > 0:
            return
        self._countdown = self._every
        if self._connection.congested:
            return  # a client that does not read misses packages; they do not pile up
        layout, reads = self._outputs
        values: list[float] = [self._recipe_id]
        for read in reads:
            values += read(self._view)
        self._connection.send(frame(Package.DATA, layout.packed.pack(*values)))

    def closed(self) -> None:
        self._owners.release(self)

    def hung_up(self) -> bool:
        """True if the client has closed its end without our having noticed yet."""
        return not self._connection.alive or self._connection.hung_up()

    def _handle(self, kind: int, payload: bytes) -> None:
        match kind:
            case Package.DATA:
                self._apply(payload)
            case Package.REQUEST_PROTOCOL_VERSION:
                accepted = struct.unpack(">H", payload)[0] == _PROTOCOL_VERSION
                self._connection.send(frame(kind, struct.pack(">?", accepted)))
            case Package.GET_URCONTROL_VERSION:
                self._connection.send(frame(kind, struct.pack(">4I", *POLYSCOPE_VERSION)))
            case Package.SETUP_OUTPUTS:
                self._set_up_outputs(payload)
            case Package.SETUP_INPUTS:
                self._set_up_inputs(payload)
            case Package.START | Package.PAUSE:
                self._started = kind == Package.START and self._outputs is not None
                accepted = self._started or kind == Package.PAUSE
                self._connection.send(frame(kind, struct.pack(">?", accepted)))
            case Package.TEXT_MESSAGE:
                log.info("rtde: text message from a client: %r", payload)
            case _:
                raise MalformedFrameError(f"unknown package type {kind}")

    def _apply(self, payload: bytes) -> None:
        recipe = payload[0] if payload else 0
        if not 1 <= recipe <= len(self._inputs):
            raise MalformedFrameError(f"data for input recipe {recipe}, {len(self._inputs)} are set up")
        self._inputs[recipe - 1].apply(payload, robot=self._robot)

    def _set_up_outputs(self, payload: bytes) -> None:
        (frequency_hz,) = struct.unpack_from(">d", payload)
        names = variable_names(payload[8:])
        types = [OUTPUTS[name][0] if name in OUTPUTS else "NOT_FOUND" for name in names]
        self._recipe_id = 0
        if names and "NOT_FOUND" not in types:
            self._recipe_id = 1
            self._outputs = (Layout.of(types), [OUTPUTS[name][1] for name in names])
            self._every = max(1, round(1.0 / (TICK_S * min(max(frequency_hz, 1.0), 500.0))))
        self._reply_types(Package.SETUP_OUTPUTS, self._recipe_id, types)

    def _set_up_inputs(self, payload: bytes) -> None:
        names = variable_names(payload)
        types = [self._input_type(name) for name in names]
        recipe_id = 0
        if names and not {"NOT_FOUND", "IN_USE"} & set(types) and len(self._inputs) < _MAX_RECIPES:
            self._inputs.append(InputRecipe(names))
            recipe_id = len(self._inputs)
        self._reply_types(Package.SETUP_INPUTS, recipe_id, types)

    def _input_type(self, name: str) -> str:
        if name not in INPUTS:
            return "NOT_FOUND"
        return INPUTS[name] if self._owners.claim(name, self) else "IN_USE"

    def _reply_types(self, kind: Package, recipe_id: int, types: list[str]) -> None:
        self._connection.send(frame(kind, bytes([recipe_id]) + ",".join(types).encode("ascii")))
