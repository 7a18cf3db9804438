"""Supervision of real, tiny processes: order, output, deaths, respawn, and that nothing is ever left behind."""

import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from mola_core.launching import LaunchPlan, ParameterText, ProcessError, ProcessSpec, Supervisor, tending
from mola_core.launching.errors import Location

TAG = f"MOLA_LAUNCH_TEST={uuid.uuid4().hex}"
"""In the environment of everything that is started here, and of nothing else on this machine."""
HERE = Location(Path("test.launch.xml"), 1)
PYTHON = (sys.executable, "-I", "-S", "-u", "-c")
SLEEP = "import time; time.sleep(1000)"
READY = "import os; os.write(1, b'ready\\n')"  # one write: several processes may share a pipe
STUBBORN = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); {READY}; {SLEEP}"
IMMORTAL = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {STUBBORN}"


def process(name: str, code: str = SLEEP, **options) -> ProcessSpec:
    settings = {"cwd": None, "respawn": False, "respawn_delay_s": 0.0, "required": False, **options}
    argv, environment = (*PYTHON, code), tagged_environment()
    return ProcessSpec(name=name, label=f"{name}-1", where=HERE, argv=argv, environment=environment, **settings)


def tagged_environment() -> dict[str, str]:
    name, _, value = TAG.partition("=")
    return {**os.environ, name: value}


def plan(*processes: ProcessSpec) -> LaunchPlan:
    return LaunchPlan(processes)


class Lines:
    """Collects output, and waits for a line of it."""

    def __init__(self) -> None:
        self.all: list[tuple[str, str]] = []
        self._changed = threading.Condition()

    def __call__(self, stream: str, line: str) -> None:
        with self._changed:
            self.all.append((stream, line))
            self._changed.notify_all()

    def wait_for(self, text: str, *, count: int = 1) -> str:
        def found() -> list[str]:
            return [line for _, line in self.all if text in line]

        with self._changed:
            assert self._changed.wait_for(lambda: len(found()) >= count, timeout=30), (text, self.all)
            return found()[count - 1]


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """Whatever a test does, no process that it started may survive it."""
    yield
    assert survivors() == []


def survivors() -> list[int]:
    """Living processes that were started here."""
    pids = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and TAG.encode() in (entry / "environ").read_bytes().split(b"\0"):
                pids.append(int(entry.name))
        except OSError:
            continue
    return pids


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# --- the normal course


def test_processes_run_while_the_context_is_open(lines: Lines) -> None:
    with Supervisor(plan(process("a"), process("b")), emit=lines) as graph:
        pids = graph.running()
        assert list(pids) == ["a", "b"]
        assert all(is_alive(pid) for pid in pids.values())
        assert graph.pid("a") == pids["a"]
    assert not any(is_alive(pid) for pid in pids.values())
    assert graph.exit_code == 0
    assert lines.all == [] or all(
        "KeyboardInterrupt" in text or "Traceback" in text or "File" in text for _, text in lines.all
    )


def test_output_is_prefixed_line_by_line_and_stays_on_its_stream(lines: Lines) -> None:
    code = "import sys; print('one\\ntwo'); print('three', file=sys.stderr); sys.stdout.write('no newline')"
    with Supervisor(plan(process("talk", code)), emit=lines) as graph:
        graph.wait()
    said = {(stream, line) for stream, line in lines.all if line.startswith("[talk-1]")}
    assert said == {
        ("stdout", "[talk-1] one"),
        ("stdout", "[talk-1] two"),
        ("stdout", "[talk-1] no newline"),
        ("stderr", "[talk-1] three"),
    }


def test_what_is_not_text_does_not_stop_anything(lines: Lines) -> None:
    with Supervisor(plan(process("raw", "import os; os.write(1, b'\\xff\\n' + b'x' * 200000)")), emit=lines) as graph:
        graph.wait()
    assert graph.exit_code == 0
    assert ("stdout", "[raw-1] \ufffd") in lines.all


def test_teardown_is_in_reverse_order(lines: Lines, tmp_path: Path) -> None:
    order = tmp_path / "order"
    code = (
        "import signal, sys, time\n"
        f"def end(*_): open({str(order)!r}, 'a').write(NAME); sys.exit()\n"
        "signal.signal(signal.SIGINT, end); print('ready')\n"
        "while True: time.sleep(1)"
    )
    processes = [process(name, f"NAME = {name!r}\n{code}") for name in "abc"]
    with Supervisor(plan(*processes), emit=lines):
        lines.wait_for("ready", count=3)
    assert order.read_text() == "cba"


def test_parameter_files_exist_as_long_as_their_process_may_run(lines: Lines) -> None:
    spec = process("reader", f"import sys; print(sys.argv[1], open(sys.argv[1]).read()); {SLEEP}")
    spec = ProcessSpec(
        **{**{name: getattr(spec, name) for name in spec.__slots__}, "argv": (*spec.argv, ParameterText("a: 1"))}
    )
    with Supervisor(plan(spec), emit=lines):
        path = Path(lines.wait_for("a: 1").split()[1])
        assert path.read_text() == "a: 1"
    assert not path.exists()


def test_the_pids_file_follows_the_processes(lines: Lines, tmp_path: Path) -> None:
    file = tmp_path / "pids.json"
    spec = process("a", respawn=True)
    with Supervisor(plan(spec), emit=lines, pids_file=file) as graph:
        first = graph.pid("a")
        assert json.loads(file.read_text()) == {"a": first}
        graph.kill("a", signal.SIGKILL)
        second = graph.wait_pid("a", other_than=first)
        assert json.loads(file.read_text()) == {"a": second}
    assert json.loads(file.read_text()) == {}


# --- deaths


@pytest.mark.parametrize(
    ("code", "end", "status"),
    [
        ("raise SystemExit(3)", "died: exit code 3; not started again", 3),
        ("import os; os.kill(os.getpid(), 9)", "died: signal SIGKILL; not started again", 137),
        ("pass", "ended: exit code 0; not started again", 0),
    ],
)
def test_a_death_is_reported_with_name_pid_and_cause(lines: Lines, code: str, end: str, status: int) -> None:
    with Supervisor(plan(process("mortal", code)), emit=lines) as graph:
        exit_ = graph.wait_exit("mortal")
        graph.wait()
        assert ("stderr", f"[launch] mortal (pid {exit_.pid}) {end}") in lines.all
        assert graph.exit_code == status
        with pytest.raises(ProcessError, match="'mortal' does not run now; it ended last with"):
            graph.pid("mortal")


def test_a_killed_process_is_started_again(lines: Lines) -> None:
    with Supervisor(plan(process("a", respawn=True, respawn_delay_s=0.1), process("b")), emit=lines) as graph:
        first, other = graph.pid("a"), graph.pid("b")
        assert graph.kill("a", signal.SIGKILL) == first
        assert graph.wait_exit("a", pid=first).returncode == -signal.SIGKILL
        second = graph.wait_pid("a", other_than=first)
        assert is_alive(second)
        assert graph.pid("b") == other
    assert f"[launch] a (pid {first}) died: signal SIGKILL; started again in 0.1 s" in [line for _, line in lines.all]


def test_a_process_that_ends_well_is_started_again_too(lines: Lines) -> None:
    with Supervisor(plan(process("a", "print('life')", respawn=True, respawn_delay_s=0.05)), emit=lines):
        lines.wait_for("life", count=3)


def test_the_end_of_a_required_process_ends_all(lines: Lines) -> None:
    required = process("required", "raise SystemExit(4)", required=True, respawn=True)
    with Supervisor(plan(process("other"), required), emit=lines) as graph:
        graph.wait()
        assert graph.running() == {}
        assert graph.exit_code == 4
    lines.wait_for("died: exit code 4; all others are stopped")


def test_a_required_process_that_ends_well_ends_all_well(lines: Lines) -> None:
    with Supervisor(plan(process("other"), process("required", "pass", required=True)), emit=lines) as graph:
        graph.wait()
        assert graph.exit_code == 0


def test_unknown_names_are_refused_with_the_nearest(lines: Lines) -> None:
    with Supervisor(plan(process("controller")), emit=lines) as graph:
        for ask in (graph.pid, graph.wait_exit, lambda name: graph.kill(name, signal.SIGTERM)):
            with pytest.raises(ProcessError, match="no process 'contoller'; did you mean 'controller'"):
                ask("contoller")


def test_waiting_in_vain_is_an_error(lines: Lines) -> None:
    with Supervisor(plan(process("a")), emit=lines) as graph:
        with pytest.raises(ProcessError, match=r"waited 0\.01 s in vain for the end of a"):
            graph.wait_exit("a", timeout_s=0.01)
        with pytest.raises(ProcessError, match="in vain for the respawn of a"):
            graph.wait_pid("a", other_than=graph.pid("a"), timeout_s=0.01)


def test_a_process_that_cannot_start_stops_those_before_it(lines: Lines, tmp_path: Path) -> None:
    broken = process("broken", cwd=tmp_path / "missing")
    with pytest.raises(ProcessError, match=r"test\.launch\.xml:1: broken-1 cannot be started: .*missing"):
        Supervisor(plan(process("a"), broken), emit=lines).__enter__()
    assert survivors() == []


# --- the hard cases


def test_sigterm_follows_a_sigint_that_is_ignored(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tending, "GRACE_S", 0.3)
    with Supervisor(plan(process("stubborn", STUBBORN)), emit=lines) as graph:
        lines.wait_for("ready")
    assert graph.wait_exit("stubborn").returncode == -signal.SIGTERM
    lines.wait_for("did not end 0.3 s after SIGINT: SIGTERM")


def test_sigkill_follows_a_sigterm_that_is_ignored(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tending, "GRACE_S", 0.3)
    with Supervisor(plan(process("immortal", IMMORTAL)), emit=lines) as graph:
        lines.wait_for("ready")
    assert graph.wait_exit("immortal").returncode == -signal.SIGKILL


def test_hurry_kills_at_once(lines: Lines) -> None:
    with Supervisor(plan(process("a", IMMORTAL), process("b", IMMORTAL)), emit=lines) as graph:
        lines.wait_for("ready", count=2)
        graph.request_shutdown(hurry=True)
        graph.wait()
        assert [graph.wait_exit(name).returncode for name in "ab"] == [-signal.SIGKILL] * 2


GRANDPARENT = f"""
import subprocess, sys
for new_session in (False, True):
    child = subprocess.Popen([sys.executable, "-I", "-S", "-u", "-c", {IMMORTAL!r}], start_new_session=new_session)
    print("grandchild", child.pid)
{SLEEP}
"""


@pytest.mark.parametrize("death", [None, signal.SIGKILL])
def test_grandchildren_go_too(lines: Lines, death: signal.Signals | None) -> None:
    with Supervisor(plan(process("grandparent", GRANDPARENT)), emit=lines) as graph:
        grandchildren = [int(lines.wait_for("grandchild", count=count).split()[-1]) for count in (1, 2)]
        lines.wait_for("ready", count=2)
        if death is not None:
            graph.kill("grandparent", death)
            graph.wait()
            assert not any(is_alive(pid) for pid in grandchildren)
    assert not any(is_alive(pid) for pid in grandchildren)


def test_what_a_dead_process_left_is_gone_before_it_is_started_again(lines: Lines) -> None:
    spec = process("grandparent", GRANDPARENT, respawn=True)
    with Supervisor(plan(spec), emit=lines) as graph:
        grandchildren = [int(lines.wait_for("grandchild", count=count).split()[-1]) for count in (1, 2)]
        first = graph.kill("grandparent", signal.SIGKILL)
        graph.wait_pid("grandparent", other_than=first)
        assert not any(is_alive(pid) for pid in grandchildren)


def test_children_receive_sigint_even_where_this_process_ignores_it(lines: Lines) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Supervisor(plan(process("a", f"print('ready'); {SLEEP}")), emit=lines) as graph:
            lines.wait_for("ready")
    finally:
        signal.signal(signal.SIGINT, before)
    assert graph.wait_exit("a").returncode == -signal.SIGINT


def test_a_reader_who_has_left_ends_all() -> None:
    def broken(stream: str, line: str) -> None:
        raise BrokenPipeError

    with Supervisor(plan(process("a", f"print('hello'); {SLEEP}")), emit=broken) as graph:
        graph.wait()
        assert graph.running() == {}


SUPERVISE = """
import sys
from pathlib import Path
from mola_core.launching import Supervisor, expand
with Supervisor(expand(Path(sys.argv[1]), {}), pids_file=Path(sys.argv[2])) as graph:
    graph.wait()
"""


def test_kill_minus_nine_of_the_supervisor_leaves_no_process(tmp_path: Path) -> None:
    script, file = tmp_path / "grandparent.py", tmp_path / "test.launch.xml"
    script.write_text(GRANDPARENT)
    command = f"{sys.executable} -I -S -u {script}"
    file.write_text(f'<launch><executable cmd="{command}"/><executable cmd="{command}" respawn="true"/></launch>')
    runner = subprocess.Popen(
        [sys.executable, "-c", SUPERVISE, str(file), str(tmp_path / "pids.json")],
        stdout=subprocess.PIPE,
        text=True,
        env=tagged_environment(),
    )
    assert runner.stdout is not None
    ready, pids = 0, []
    while ready < 4:
        line = runner.stdout.readline()
        assert line, "the runner ended early"
        ready += "ready" in line
        pids += [int(line.split()[-1])] if "grandchild" in line else []
    assert len(pids) == 4
    runner.kill()
    runner.wait()
    wait_until_dead(pids)


def wait_until_dead(pids: list[int]) -> None:
    pause = threading.Event()
    for _ in range(1500):
        if not survivors() and not any(is_alive(pid) for pid in pids):
            return
        pause.wait(0.02)
    raise AssertionError(f"processes survive: {survivors()}")
