"""The controller's end of the link, across servo processes that come and go."""

from pathlib import Path

import numpy as np

from mola_core.contracts.clock import FakeClock
from mola_core.control.link_records import STATUS_DTYPE
from mola_core.control.servo_link import ControllerEnd, ServoEnd


def published(end: ServoEnd, *, pid: int) -> None:
    record = np.zeros((), dtype=STATUS_DTYPE)
    record["pid"] = pid
    end.publish(record)


def test_a_process_that_left_without_a_word_does_not_hide_the_next_one(tmp_path: Path) -> None:
    with ControllerEnd(tmp_path, clock=FakeClock()) as controller:
        with ServoEnd(tmp_path):
            assert controller.status() is None, "attached, and nothing said yet"
        with ServoEnd(tmp_path) as servo:
            published(servo, pid=7)
            status = controller.status()
            assert status is not None
            assert status.pid == 7


def test_a_status_is_gone_with_its_process(tmp_path: Path) -> None:
    with ControllerEnd(tmp_path, clock=FakeClock()) as controller:
        with ServoEnd(tmp_path) as servo:
            published(servo, pid=7)
            assert controller.status() is not None
        assert controller.status() is None
