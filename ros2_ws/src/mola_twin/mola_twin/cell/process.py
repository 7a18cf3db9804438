"""The cell process: ``python -m mola_twin.cell.process --host 127.0.0.2 --run-dir DIR [--no-render]``.

Physics in one thread, drawing in another, a thread for every client. Clients of the cameras find nothing with
``--no-render``; the world answers all the same.
"""

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from mola_core.contracts.clock import SystemClock
from mola_core.contracts.errors import MolaError
from mola_twin.cell.realtime import RealtimeCell
from mola_twin.cell.world_server import WorldServer
from mola_twin.controller.process import check_host
from mola_twin.serve import CAMERA_PORT, WORLD_PORT

log = logging.getLogger(__name__)

_SWITCH_INTERVAL_S = 0.0005
"""How long one thread may keep the interpreter from another; the default is longer than two physics steps."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM; the exit code."""
    options = _parse(arguments)
    logging.basicConfig(level=logging.INFO if options.verbose else logging.WARNING, format="cell: %(message)s")
    try:
        return _run(options)
    except MolaError as error:
        sys.stderr.write(f"mola twin cell: error: {error}\n")
        return error.exit_code


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="the cell process of the twin")
    parser.add_argument("--host", required=True, help="loopback address to answer on")
    parser.add_argument("--run-dir", type=Path, required=True, help="where the controller's record lies")
    parser.add_argument("--no-render", action="store_true", help="no cameras")
    parser.add_argument("--allow-remote", action="store_true", help="answer on an address that others can reach")
    parser.add_argument("--verbose", action="store_true", help="say who comes and goes")
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace) -> int:
    host = check_host(options.host, allow_remote=options.allow_remote)
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    failures: list[BaseException] = []
    clock = SystemClock()
    with ExitStack() as stack:
        cell = RealtimeCell(options.run_dir, clock=clock)
        stack.callback(cell.close)
        world = WorldServer((host, WORLD_PORT), cell)
        threads = [_thread("physics", lambda: cell.run(stopping), stopping, failures)]
        if not options.no_render:
            threads.append(_start_cameras(host, cell, clock, stopping, failures, stack))
        world.start()
        stack.callback(world.stop)
        stopping.wait()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
    return 0


def _start_cameras(
    host: str,
    cell: RealtimeCell,
    clock: SystemClock,
    stopping: threading.Event,
    failures: list[BaseException],
    stack: ExitStack,
) -> threading.Thread:
    # imported here: drawing needs OpenGL, which a machine that serves no cameras may lack
    from mola_twin.cell.camera_server import CameraServer  # noqa: PLC0415
    from mola_twin.cell.camera_streams import StreamRegistry  # noqa: PLC0415
    from mola_twin.cell.render_loop import RenderLoop  # noqa: PLC0415

    streams = StreamRegistry()
    server = CameraServer((host, CAMERA_PORT), streams)
    server.start()
    stack.callback(server.stop)
    loop = RenderLoop(cell, streams, clock=clock)
    return _thread("render", lambda: loop.run(stopping), stopping, failures)


def _thread(
    name: str, work: Callable[[], None], stopping: threading.Event, failures: list[BaseException]
) -> threading.Thread:
    """A thread whose failure ends the process instead of leaving half a cell behind."""

    def guarded() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # raised again by the main thread
            failures.append(error)
            stopping.set()

    thread = threading.Thread(target=guarded, name=name)
    thread.start()
    return thread


if __name__ == "__main__":
    sys.exit(main())
