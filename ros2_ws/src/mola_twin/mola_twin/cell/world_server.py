"""Answers questions about the twin's world: one JSON object a line in, one out.

``{"op": "tasks"}``, ``{"op": "variants"}``, ``{"op": "reset", "task": …, "seed": …, "variant": …}``, ``{"op": "truth"}``,
``{"op": "success"}``. Every answer has ``ok``; a refusal has ``error`` as well.
"""

import json
import socket
import socketserver
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from mola_core.contracts.errors import ConfigError, MolaError
from mola_twin.cell.line_server import LineReader, LineServer
from mola_twin.cell.realtime import RealtimeCell
from mola_twin.tasks.instructions import TASKS
from mola_twin.tasks.truth import plain
from mola_twin.tasks.variants import VARIANTS


class WorldServer(LineServer):
    """One thread a client."""

    def __init__(self, address: tuple[str, int], cell: RealtimeCell) -> None:
        self.cell = cell
        super().__init__(address, _Handler)


class _Handler(socketserver.BaseRequestHandler):
    server: WorldServer

    def handle(self) -> None:
        connection: socket.socket = self.request
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lines = LineReader(connection)
        try:
            while (line := lines.next()) is not None:
                connection.sendall(json.dumps(self._answer(line)).encode() + b"\n")
        except (OSError, ValueError):
            return

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise ConfigError(f"a request is a JSON object, got {request!r:.80}")
            return {"ok": True, **_operation(request)(self.server.cell, request)}
        except (MolaError, ValueError) as error:
            return {"ok": False, "error": str(error)}


def _tasks(_cell: RealtimeCell, _request: dict[str, Any]) -> dict[str, Any]:
    return {
        "tasks": {
            name: {"train": list(spec.train), "held_out": list(spec.held_out), "time_limit_s": spec.time_limit_s}
            for name, spec in TASKS.items()
        }
    }


def _variants(_cell: RealtimeCell, _request: dict[str, Any]) -> dict[str, Any]:
    return {"variants": list(VARIANTS)}


def _reset(cell: RealtimeCell, request: dict[str, Any]) -> dict[str, Any]:
    task, seed, variant = request.get("task"), request.get("seed"), request.get("variant", "id")
    if not isinstance(task, str) or not isinstance(seed, int) or not isinstance(variant, str):
        raise ConfigError(f"reset needs task (text), seed (a whole number) and variant (text), got {request!r:.120}")
    start = cell.reset(task=task, seed=seed, variant=variant)
    return {
        "task": start.task,
        "seed": start.seed,
        "variant": start.variant,
        "instruction": start.instruction,
        "stack_top": start.stack_top,
        "stack_bottom": start.stack_bottom,
    }


def _truth(cell: RealtimeCell, _request: dict[str, Any]) -> dict[str, Any]:
    return {"truth": cell.truth().to_json()}


def _success(cell: RealtimeCell, _request: dict[str, Any]) -> dict[str, Any]:
    return {"success": plain(asdict(cell.success()))}


_OPERATIONS: dict[str, Callable[[RealtimeCell, dict[str, Any]], dict[str, Any]]] = {
    "tasks": _tasks,
    "variants": _variants,
    "reset": _reset,
    "truth": _truth,
    "success": _success,
}


def _operation(request: dict[str, Any]) -> Callable[[RealtimeCell, dict[str, Any]], dict[str, Any]]:
    name = request.get("op")
    if name not in _OPERATIONS:
        raise ConfigError(f"op must be one of {', '.join(_OPERATIONS)}, got {name!r}")
    return _OPERATIONS[name]
