"""The launch files that people start: the whole graph comes up on the twin, does a task, and leaves no process behind."""

import os
import subprocess
from pathlib import Path

from ros_rig import write_twin_site

from mola_nodes.running_twin import RunningTwin
from mola_twin.tasks.instructions import TASKS
from mola_twin.world_client import WorldClient

HOST = "127.0.1.52"
TASK = "press_button"
NUM_NODES = 5
"""Two cameras, controller, policy, manager; the servo process, controller and cell of the twin come on top."""


def descendants() -> dict[int, str]:
    """Processes that this one has started, directly or not, with their command lines."""
    listing = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True)
    rows = [line.split(maxsplit=2) for line in listing.stdout.splitlines()]
    family = {os.getpid()}
    found: dict[int, str] = {}
    while True:
        new = {int(pid): args for pid, parent, args in rows if int(parent) in family and int(pid) not in found}
        if not new:
            return {pid: args for pid, args in found.items() if not args.startswith("ps ")}
        found |= new
        family |= set(new)


def test_the_shipped_graph_does_a_task_and_leaves_no_process_behind(tmp_path: Path) -> None:
    before = descendants()
    site = write_twin_site(tmp_path / "site.yaml", host=HOST)
    log = tmp_path / "graph.log"
    with RunningTwin(log_path=log, host=HOST, arguments={"site": str(site)}) as twin, WorldClient(HOST) as world:
        started = {pid: args for pid, args in descendants().items() if pid not in before}
        assert len(started) > NUM_NODES
        start = world.reset(task=TASK, seed=0)
        twin.operator.resume()
        outcome = twin.operator.run(start.instruction, time_limit_s=TASKS[TASK].time_limit_s).result()
        assert outcome.success, f"{outcome.reason}\n{log.read_text()[-3000:]}"
    assert [args for pid, args in started.items() if Path(f"/proc/{pid}").exists()] == []
