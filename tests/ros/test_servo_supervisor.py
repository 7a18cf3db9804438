"""The thread that keeps the servo process: whatever ends it is told. No arm, no servo process."""

import queue
from pathlib import Path

from mola_nodes.servo_supervisor import ServoSupervisor

PATIENCE_S = 10.0


def test_what_ends_the_supervisor_is_told_and_closing_does_not_wait_for_it(tmp_path: Path) -> None:
    bugs = queue.Queue[BaseException]()
    absent = tmp_path / "no_such_program"
    with ServoSupervisor(tmp_path / "site.yaml", tmp_path / "link", command=(str(absent),), on_bug=bugs.put):
        bug = bugs.get(timeout=PATIENCE_S)
    assert isinstance(bug, FileNotFoundError)
    assert bug.filename == str(absent)
