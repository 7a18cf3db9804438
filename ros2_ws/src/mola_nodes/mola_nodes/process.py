"""How every node of ours lives and ends: signals, the parent's death, one line for errors, exit codes."""

import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import NoReturn, Protocol

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from mola_core.contracts.errors import MolaError
from mola_core.control.realtime import settle_garbage_collector

_SPIN_S = 0.25
_PARENT_CHECK_S = 0.2
_NICE = 5
_SWITCH_S = 0.001
"""How long a thread of Python may keep the others of its process waiting."""
_LAST_RESORT_S = 6.0
"""Longer than launch waits before SIGTERM; nobody waits for the orphan of a dead launch."""


class Ending:
    """The wish that this process ends, from a signal, a dead parent, or the node itself.

    A plain flag that is polled: a signal handler may run while its own thread holds the lock of anything cleverer.
    """

    def __init__(self) -> None:
        self.requested = False
        """Has somebody asked?"""
        self.exit_code = 0

    def request(self, *, exit_code: int = 0) -> None:
        """Ask the process to end; the first non-zero code stands."""
        self.exit_code = self.exit_code or exit_code
        self.requested = True

    def wait(self, timeout_s: float) -> bool:
        """Sleep for ``timeout_s`` (keep it short); was the end requested?"""
        time.sleep(timeout_s)
        return self.requested


class OwnedNode(Protocol):
    """What :func:`run_node` needs beside an rclpy node."""

    def close(self) -> None:
        """Release everything while the ROS context still lives; called once, from the main thread."""
        ...


def run_node(*factories: Callable[[Ending], Node], args: Sequence[str] | None = None, urgent: bool = True) -> NoReturn:
    """Build the node, spin it until something ends it, take it down, and leave the process with an exit code.

    Several nodes share the process, one executor thread and their end. ``urgent`` are those that stand between the world and the arm:
    the others run on what they leave.

    rclpy's own signal handlers are not used: they take the ROS context down at once, and a node could not say
    goodbye through it. The interpreter is not finalised either: after everything is closed, the static destructors of
    Fast DDS hang about once in a hundred times.
    """
    if urgent:
        sys.setswitchinterval(_SWITCH_S)
    else:
        os.nice(_NICE)
    try:
        exit_code = _live(factories, args)
    except Exception:  # noqa: BLE001 (a bug: its trace is what finds it)
        traceback.print_exc()
        exit_code = 1
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


def _live(factories: Sequence[Callable[[Ending], Node]], args: Sequence[str] | None) -> int:
    ending = Ending()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ending.request())
    _follow_parent(ending)
    rclpy.init(args=None if args is None else list(args), signal_handler_options=SignalHandlerOptions.NO)
    logging.basicConfig(handlers=[_RosLog()], level=logging.INFO, force=True)
    try:
        _spin(factories, ending)
    except MolaError as error:
        get_logger("mola").fatal(str(error))
        return error.exit_code
    finally:
        rclpy.try_shutdown()
    return ending.exit_code


def _spin(factories: Sequence[Callable[[Ending], Node]], ending: Ending) -> None:
    executor = SingleThreadedExecutor()
    nodes: list[Node] = []
    try:
        for factory in factories:
            nodes.append(factory(ending))
            executor.add_node(nodes[-1])
        settle_garbage_collector()
        while rclpy.ok() and not ending.requested:
            executor.spin_once(_SPIN_S)
    finally:
        for node in reversed(nodes):
            node.close()
        executor.shutdown()
        for node in reversed(nodes):
            node.destroy_node()


class _RosLog(logging.Handler):
    """What drivers and control log through Python's logging, where the nodes' own log goes."""

    def emit(self, record: logging.LogRecord) -> None:
        logger, text = get_logger(record.name), record.getMessage()
        # one line a level: rclpy binds the level to the line of the call
        if record.levelno >= logging.ERROR:
            logger.error(text)
        elif record.levelno >= logging.WARNING:
            logger.warning(text)
        else:
            logger.info(text)


def _follow_parent(ending: Ending) -> None:
    """End when the parent dies: a terminated ``ros2 launch`` leaves its nodes behind otherwise.

    Polled rather than asked of the kernel (PR_SET_PDEATHSIG), which reports the end of the *thread* that started us.
    """
    parent = os.getppid()

    def watch() -> None:
        while not ending.wait(_PARENT_CHECK_S):
            if os.getppid() != parent:
                get_logger("mola").warning("parent process is gone; ending")
                ending.request()
                time.sleep(_LAST_RESORT_S)
                os._exit(1)

    threading.Thread(target=watch, name="parent watch", daemon=True).start()
