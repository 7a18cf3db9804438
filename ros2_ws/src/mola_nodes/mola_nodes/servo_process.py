"""The process that owns ur_rtde and nothing else: ``python -m mola_nodes.servo_process --site FILE --link FOLDER``.

It runs the servo loop until its parent dies, somebody asks it to leave (both: brake first), or the arm misbehaves; then it
leaves with a code of :class:`mola_nodes.servo_exit.ServoExit` and a supervisor starts a fresh one, which moves nothing
before the operator says so. ur_rtde's own reconnect is never used.
"""

import argparse
import faulthandler
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mola_core.contracts.clock import Clock, SystemClock
from mola_core.contracts.errors import ArmError, ConfigError, MolaError
from mola_core.contracts.site import ArmSpec, Site, load_site
from mola_core.control.realtime import (
    freeze_garbage_collector,
    lock_memory,
    sharpen_timers,
    signal_on_parent_death,
    use_fifo_scheduling,
)
from mola_core.control.servo_link import ServoEnd
from mola_core.control.servo_loop import ArmSilentError, ProgramStoppedError, SendRecord, ServoLoop
from mola_drivers.arm.factory import make_arm
from mola_drivers.arm.protocol import Arm, ArmLinkError
from mola_nodes.servo_exit import ServoExit

LAST_WORDS = "last_words"
"""File in the link folder: one line on why the last servo process left."""

_RECORDED_TARGETS = 500 * 600
"""Ten minutes."""

_log = logging.getLogger("mola.servo")

ArmFactory = Callable[[ArmSpec, Clock], Arm]


def main(arguments: Sequence[str] | None = None, *, arm_factory: ArmFactory | None = None) -> int:
    """Run the servo process; returns a :class:`ServoExit`."""
    options = _parse(arguments)
    logging.basicConfig(level=logging.INFO, format="servo: %(message)s")
    faulthandler.enable()
    code, words = _run(options, arm_factory or (lambda spec, clock: make_arm(spec=spec, clock=clock)))
    _log.info("%s (%s)", words, code.name)
    _leave_words(options.link, words)
    return code


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="servo_process", description="The 500 Hz process; started by controller_node."
    )
    parser.add_argument("--site", type=Path, required=True, help="site file")
    parser.add_argument("--link", type=Path, required=True, help="folder of shared blocks that the controller made")
    parser.add_argument("--unlock", action="store_true", help="unlock a protective stop first (takes over 5 s)")
    parser.add_argument("--record", type=Path, help="write when each target was sent to this .npy file on leaving")
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace, arm_factory: ArmFactory) -> tuple[ServoExit, str]:
    # The loop does not exist yet while connecting; a wish to leave must not be lost meanwhile.
    wish = _WishToLeave()
    try:
        site = load_site(options.site)
        with ServoEnd(options.link) as link:
            return _serve(site, options, link=link, wish=wish, arm_factory=arm_factory)
    except ConfigError as error:
        return ServoExit.BAD_SITE, str(error)
    except ArmLinkError as error:
        return ServoExit.LINK_LOST, str(error)
    except ArmSilentError as error:
        return ServoExit.ARM_SILENT, str(error)
    except (ArmError, ProgramStoppedError) as error:
        return ServoExit.ARM_REFUSED, str(error)
    except MolaError as error:
        return ServoExit.NO_CONTROLLER, str(error)


def _serve(
    site: Site, options: argparse.Namespace, *, link: ServoEnd, wish: "_WishToLeave", arm_factory: ArmFactory
) -> tuple[ServoExit, str]:
    clock = SystemClock()
    sharpen_timers()
    _log_refusal(lock_memory())
    arm = arm_factory(site.arm, clock)
    if options.unlock:
        _unlock(arm)
    record = SendRecord(capacity=_RECORDED_TARGETS) if options.record else None
    loop = ServoLoop(site=site, arm=arm, link=link, clock=clock, record=record)
    freeze_garbage_collector()
    try:
        arm.__enter__()
    except ArmLinkError:
        raise
    except ArmError as error:
        return ServoExit.ARM_NOT_READY, str(error)
    try:
        # For this thread alone: the library's threads, which poll, would inherit it and starve a machine of two cores.
        _log_refusal(use_fifo_scheduling(site.arm.servo.realtime_priority))
        reason = loop.run(watch=lambda: wish.reason or _controller_is_gone(link, wish))
    finally:
        link.withdraw()  # disconnecting takes a while, and is no sign of life
        if record is not None and not options.record.exists():  # the first process of a supervisor's counts
            np.save(options.record, record.rows)
    # Only here, with a live link and the arm at rest. After an anomaly the library is best left alone: it may be
    # reconnecting by itself, and disconnecting then can crash or hang. The end of the process closes the sockets.
    arm.__exit__(None, None, None)
    if wish.parent_is_gone or link.is_orphaned:
        return ServoExit.CONTROLLER_LOST, reason
    return ServoExit.ASKED, reason


class _WishToLeave:
    """Set by signals; made before anything that could block."""

    def __init__(self) -> None:
        self.reason = ""
        self._parent = os.getppid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        signal_on_parent_death(signal.SIGTERM)

    @property
    def parent_is_gone(self) -> bool:
        return os.getppid() != self._parent

    def _on_signal(self, number: int, _frame: object) -> None:
        self.reason = f"asked to leave by {signal.Signals(number).name}"


def _controller_is_gone(link: ServoEnd, wish: _WishToLeave) -> str:
    if wish.parent_is_gone:
        return "the controller node died"
    return "the controller node left" if link.is_orphaned else ""


def _log_refusal(problem: str) -> None:
    if problem:
        _log.info("%s", problem)


def _unlock(arm: Arm) -> None:
    try:
        arm.unlock_protective_stop()
    except ArmLinkError:
        raise
    except ArmError as error:
        _log.info("not unlocked: %s", error)


def _leave_words(folder: Path, words: str) -> None:
    try:
        (folder / LAST_WORDS).write_text(words + "\n", encoding="utf-8")
    except OSError:
        _log.info("cannot leave a note in %s", folder)


if __name__ == "__main__":
    exit_code = main()
    sys.stderr.flush()
    # At once: after a dead link the library may be reconnecting in a thread of its own, and must not send another target.
    os._exit(exit_code)
