"""``mola launch`` as a process of its own: what it prints, its exit status, and signals."""

import json
import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mola_core.contracts.errors import ConfigError
from mola_core.launching import LaunchArgumentError
from mola_core.launching.command import interpret

MAIN = """
import argparse, sys
from mola_core.contracts.errors import MolaError
from mola_core.launching.command import register
parser = argparse.ArgumentParser()
register(parser.add_subparsers())
arguments = parser.parse_args()
try:
    sys.exit(arguments.run(arguments))
except MolaError as error:
    sys.exit(f"mola: error: {error}")
"""
SLEEPER = "import signal, time; print('ready', flush=True); time.sleep(1000)"

Launch = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def launch(environment: dict[str, str], tmp_path: Path) -> Iterator[Launch]:
    """Start ``mola launch``; whatever still runs at the end is killed."""
    started = []

    def start(*words: str, wrapper: tuple[str, ...] = ()) -> "subprocess.Popen[str]":
        started.append(
            subprocess.Popen(
                [*wrapper, sys.executable, "-c", MAIN, "launch", *words],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=tmp_path,
                env={**os.environ, **environment},
            )
        )
        return started[-1]

    yield start
    for runner in started:
        runner.kill()
        runner.communicate()


def python(code: str) -> str:
    """``cmd`` of an executable that runs ``code``, which holds no double quotes."""
    return f"{sys.executable} -I -S -u -c &quot;{code}&quot;"


def wait_for(stream, text: str) -> str:
    for line in stream:
        if text in line:
            return str(line)
    raise AssertionError(f"{text!r} was not printed")


def test_the_command_is_registered() -> None:
    root = next(parent for parent in Path(__file__).parents if (parent / "pyproject.toml").is_file())
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["mola.commands"]["launch"] == "mola_core.launching.command:register"


# --- finding the file


def test_a_path_a_file_of_a_package_and_a_file_of_the_default_package(
    environment: dict[str, str], prefix: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AMENT_PREFIX_PATH", environment["AMENT_PREFIX_PATH"])
    index = prefix / "share/ament_index/resource_index/packages"
    files = {}
    for package in ("demo", "mola_bringup"):
        (index / package).touch()
        files[package] = prefix / "share" / package / "launch" / "a.launch.xml"
        files[package].parent.mkdir(parents=True, exist_ok=True)
        files[package].write_text("<launch/>")
    assert interpret([str(files["demo"]), "x:=1", "y:=a:=b"]) == (files["demo"], {"x": "1", "y": "a:=b"})
    assert interpret(["demo", "a.launch.xml"]) == (files["demo"], {})
    assert interpret(["a.launch.xml", "x:=1"]) == (files["mola_bringup"], {"x": "1"})
    with pytest.raises(
        ConfigError, match=r"'mola_bringup' has no launch file 'aa\.launch\.xml'; did you mean 'a\.launch"
    ):
        interpret(["aa.launch.xml"])
    with pytest.raises(ConfigError, match=r"package 'demi' is not under AMENT_PREFIX_PATH .*; did you mean 'demo'"):
        interpret(["demi", "a.launch.xml"])


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["x:=1"], "expected"),
        (["a", "b", "c"], "expected"),
        (["a", "b", "policy=none"], "expected .* an argument is written name:=value"),
        (["a", ":=1"], "malformed argument ':=1'"),
        (["a", "x:="], "malformed argument 'x:='"),
    ],
)
def test_a_command_line_that_cannot_be_meant(words: list[str], problem: str) -> None:
    with pytest.raises(LaunchArgumentError, match=problem):
        interpret(words)


# --- printing instead of starting


def test_show_args(launch: Launch, write) -> None:
    write('<arg name="deep" default="$(env HOME)"/><arg name="passed"/>', name="sub.launch.xml")
    file = write(
        """
        <arg name="site" description="Where"/>
        <arg name="policy" default="none"><choice value="none"/><choice value="scripted"/></arg>
        <include file="$(dirname)/sub.launch.xml"><arg name="passed" value="$(var site)"/></include>
        """
    )
    output, _ = (runner := launch(str(file), "--show-args")).communicate(timeout=60)
    assert runner.returncode == 0
    assert output.splitlines()[1:] == [
        *("", "  site", "      Where", "      required"),
        *("", "  policy", "      one of: none, scripted", "      default: none"),
        *("", "  deep", "      default: $(env HOME)"),
    ]


def test_print_shows_commands_that_a_shell_takes(launch: Launch, write) -> None:
    file = write(
        '<set_env name="A" value="1 2"/><executable cmd="echo \'a b\'" name="e" respawn="true" respawn_delay="1.5"/>'
    )
    output, _ = (runner := launch(str(file), "--print")).communicate(timeout=60)
    assert runner.returncode == 0
    assert output == "# e-1, respawn after 1.5 s\nA='1 2' \\\necho 'a b'\n\n"


def test_a_mistake_is_one_line_and_nothing_starts(launch: Launch, write) -> None:
    file = write(f'<executable cmd="{python("print(1)")}"/><nod/>')
    output, error = (runner := launch(str(file))).communicate(timeout=60)
    assert (runner.returncode, output) == (1, "")
    assert error.startswith(f"mola: error: {file}:2: <nod> is not supported inside <launch>; did you mean 'node'?")
    assert error.count("\n") == 1


# --- running


@pytest.mark.parametrize(("code", "status"), [("pass", 0), ("raise SystemExit(3)", 3)])
def test_the_exit_status_is_that_of_the_required_process(launch: Launch, write, code: str, status: int) -> None:
    file = write(f'<executable cmd="{python(SLEEPER)}"/><executable cmd="{python(code)}" name="r" on_exit="shutdown"/>')
    _, error = (runner := launch(str(file))).communicate(timeout=60)
    assert runner.returncode == status
    assert f"exit code {status}; all others are stopped" in error


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("wrapper", [(), ("env", "--ignore-signal=INT")], ids=["foreground", "as a script's &"])
def test_a_signal_stops_all_and_is_success(
    launch: Launch, write, tmp_path: Path, number: signal.Signals, wrapper: tuple[str, ...]
) -> None:
    file = write(
        f'<executable cmd="{python(SLEEPER)}" name="a" respawn="true"/><executable cmd="{python(SLEEPER)}" name="b"/>'
    )
    runner = launch(str(file), "--pids", str(tmp_path / "pids.json"), wrapper=wrapper)
    for _ in "ab":
        wait_for(runner.stdout, "ready")
    pids = json.loads((tmp_path / "pids.json").read_text())
    assert list(pids) == ["a", "b"]
    runner.send_signal(number)
    runner.communicate(timeout=60)
    assert runner.returncode == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids.values())


def test_a_second_signal_does_not_wait(launch: Launch, write) -> None:
    stubborn = f"import signal; [signal.signal(number, signal.SIG_IGN) for number in (2, 15)]; {SLEEPER}"
    file = write(f'<executable cmd="{python(stubborn)}" name="stubborn"/>')
    runner = launch(str(file))
    wait_for(runner.stdout, "ready")
    runner.send_signal(signal.SIGINT)
    runner.send_signal(signal.SIGTERM)  # another one, for two equal signals that arrive together are one
    _, error = runner.communicate(timeout=60)
    assert runner.returncode == 0
    assert "stubborn-1" in error
    assert "still runs: SIGKILL" in error
    assert "after SIGINT: SIGTERM" not in error


def test_a_reader_who_leaves_ends_the_launch(launch: Launch, write) -> None:
    file = write(f'<executable cmd="{python("import time; print(1); time.sleep(1); print(2); time.sleep(1000)")}"/>')
    runner = launch(str(file))
    wait_for(runner.stdout, "1")
    runner.stdout.close()
    assert runner.wait(timeout=60) == 0
