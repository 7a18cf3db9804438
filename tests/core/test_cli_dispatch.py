"""The command line finds commands, runs them, and turns errors into one line."""

import os
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from mola_core.cli import dispatch
from mola_core.contracts.errors import ConfigError, DeviceError


def register_echo(subparsers):
    parser = subparsers.add_parser("echo", help="say it again")
    parser.add_argument("word")
    parser.set_defaults(run=lambda arguments: print(arguments.word) or 0)


def register_servo(subparsers):
    subparsers.add_parser("servo", help="lateness of the servo loop").set_defaults(run=lambda _: 7)


def register_transport(subparsers):
    subparsers.add_parser("transport", help="latency of a hop").set_defaults(run=lambda _: 8)


def register_fail(subparsers):
    def run(_):
        raise DeviceError("arm 192.0.2.1 does not answer; check its power")

    subparsers.add_parser("fail", help="always").set_defaults(run=run)


def register_interrupted(subparsers):
    def run(_):
        raise KeyboardInterrupt

    subparsers.add_parser("interrupted", help="always").set_defaults(run=run)


@pytest.fixture
def commands(monkeypatch):
    """Six commands from this file, one of which cannot be loaded."""
    values = {
        "echo": f"{__name__}:register_echo",
        "bench.servo": f"{__name__}:register_servo",
        "bench.transport": f"{__name__}:register_transport",
        "fail": f"{__name__}:register_fail",
        "interrupted": f"{__name__}:register_interrupted",
        "broken": "mola_core.no_such_module:register",
    }
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or _this_module())
    entries = [EntryPoint(name=name, value=value, group=dispatch.GROUP) for name, value in values.items()]
    monkeypatch.setattr(dispatch, "entry_points", lambda group: [*entries, entries[0]])


def _this_module():
    module = type(sys)(__name__)
    module.__dict__.update(globals())
    return module


def test_a_command_gets_its_arguments_and_its_status_is_returned(commands, capsys):
    assert dispatch.main(["echo", "hello"]) == 0
    assert capsys.readouterr().out == "hello\n"


def test_commands_of_several_packages_share_a_first_word(commands):
    assert dispatch.main(["bench", "servo"]) == 7
    assert dispatch.main(["bench", "transport"]) == 8


def test_help_lists_every_command_once_under_a_section(commands, capsys):
    assert dispatch.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert out.count("say it again") == 1
    assert out.index("measure:") < out.index("bench") < out.index("more:") < out.index("echo")


def test_a_command_that_cannot_be_loaded_is_named_in_help_and_leaves_the_others_usable(commands, capsys):
    assert dispatch.main([]) == 0
    assert "broken       (unusable: command broken cannot be loaded" in capsys.readouterr().out
    assert dispatch.main(["echo", "hello"]) == 0


def test_a_command_that_cannot_be_loaded_fails_in_one_line(commands, capsys):
    assert dispatch.main(["broken"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "no_such_module" in err
    assert "make setup" in err


def test_an_unknown_command_suggests_the_nearest(commands, capsys):
    assert dispatch.main(["ecko"]) == ConfigError.exit_code
    assert capsys.readouterr().err == "mola: error: there is no command 'ecko'; did you mean 'echo'?\n"


def test_a_wrong_argument_is_one_line_that_names_the_help(commands, capsys):
    assert dispatch.main(["bench", "warp"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "warp" in err
    assert "mola bench --help" in err


def test_an_error_of_a_command_is_one_line_with_its_own_exit_status(commands, capsys):
    assert dispatch.main(["fail"]) == DeviceError.exit_code
    assert capsys.readouterr().err == "mola: error: arm 192.0.2.1 does not answer; check its power\n"


def test_an_interrupt_ends_like_a_shell_command(commands):
    assert dispatch.main(["interrupted"]) == 130


def test_a_reader_that_leaves_early_causes_no_traceback():
    writer = "import sys; from mola_core.cli import dispatch; sys.exit(dispatch.main(['--help']))"
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run(
        [sys.executable, "-c", writer], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert result.returncode == 141
    assert result.stderr == ""


def test_the_installed_command_line_prints_its_contents():
    result = subprocess.run([sys.executable, "-m", "mola_core.cli"], capture_output=True, text=True, check=True)
    assert "doctor" in result.stdout
    assert "unusable" not in result.stdout
