"""The set-up runs what is stale, repairs what was interrupted, and says what to do where it cannot help."""

import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

SETUP = Path(__file__).resolve().parents[2] / "docker" / "setup"
sys.path.insert(0, str(SETUP))

import debian  # noqa: E402
import environment  # noqa: E402
import interpreters  # noqa: E402
import pytorch  # noqa: E402
import steps  # noqa: E402
import workspace  # noqa: E402


@pytest.fixture
def stamps(tmp_path):
    return steps.Stamps(tmp_path / "stamps")


def step(run, *, digest="a"):
    return steps.Step(name="wheels", title="wheels", digest=digest, run=run)


def test_a_step_runs_once_until_its_inputs_change(stamps):
    runs = []
    assert steps.run_stale([step(lambda: runs.append("first"))], stamps=stamps) == 1
    assert steps.run_stale([step(lambda: runs.append("again"))], stamps=stamps) == 0
    assert steps.run_stale([step(lambda: runs.append("changed"), digest="b")], stamps=stamps) == 1
    assert runs == ["first", "changed"]


def test_a_step_that_was_interrupted_runs_again_even_with_the_old_inputs(stamps):
    def killed():
        raise KeyboardInterrupt

    steps.run_stale([step(lambda: None)], stamps=stamps)
    with pytest.raises(KeyboardInterrupt):
        steps.run_stale([step(killed, digest="b")], stamps=stamps)
    assert not stamps.fresh(step(killed, digest="a"))
    assert not stamps.fresh(step(killed, digest="b"))


def test_later_steps_wait_for_the_one_that_failed(stamps, capsys):
    def fail():
        raise steps.SetupError("no network")

    later = steps.Step(name="core", title="core", digest="a", run=lambda: pytest.fail("must not run"))
    with pytest.raises(steps.SetupError):
        steps.run_stale([step(fail), later], stamps=stamps)
    assert "failed" in capsys.readouterr().out


def test_a_failing_command_shows_the_end_of_its_own_output(tmp_path):
    shell = steps.Shell(log=tmp_path / "log" / "setup.log", environment={"PATH": "/usr/bin:/bin"})
    shell.run(["echo", "earlier"])
    with pytest.raises(steps.SetupError) as caught:
        shell.run(["sh", "-c", "echo the reason >&2; exit 3"])
    message = str(caught.value)
    assert "the reason" in message
    assert "failed with 3" in message
    assert "earlier" not in message
    assert "earlier" in (tmp_path / "log" / "setup.log").read_text()


def test_the_digest_tells_apart_what_concatenation_would_not(tmp_path):
    assert steps.digest("ab", "c") != steps.digest("a", "bc")
    file = tmp_path / "a.msg"
    file.write_text("float64 x\n")
    before = steps.digest(file)
    file.write_text("float64 y\n")
    assert steps.digest(file) != before


def test_missing_packages_are_one_line_with_the_command_for_a_user_who_is_not_root(monkeypatch, tmp_path):
    monkeypatch.setattr(debian.os, "geteuid", lambda: 1000)
    needs = [
        debian.Need("libegl1", "rendering", lambda: False),
        debian.Need("g++", "building", lambda: False),
        debian.Need("git", "reports", lambda: True),
    ]
    shell = steps.Shell(log=tmp_path / "log", environment={})
    with pytest.raises(steps.SetupError) as caught:
        debian.install(needs, shell=shell)
    assert str(caught.value) == "this machine lacks some packages; run: sudo apt-get install -y g++ libegl1"


def test_nothing_is_installed_where_nothing_is_missing(tmp_path):
    shell = steps.Shell(log=tmp_path / "log", environment={})
    debian.install([debian.Need("git", "reports", lambda: True)], shell=shell)
    assert not (tmp_path / "log").exists()


def test_an_interpreter_says_what_it_can_do():
    found = interpreters.probe([sys.executable])
    assert found.version == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert found.path.is_file()
    assert not found.path.is_relative_to(sys.prefix), "environments are made from the base, not from each other"


def test_an_unsupported_or_absent_python_is_not_taken(monkeypatch):
    old = interpreters.Interpreter(path=Path("/usr/bin/python3.10"), version="3.10", venv=True, headers=True)
    monkeypatch.setattr(interpreters, "probe", lambda command: old if command == ["python3"] else None)
    assert interpreters.find() is None
    with pytest.raises(steps.SetupError, match=r"make setup PYTHON="):
        environment.require(None, wanted=None)


def test_the_versioned_name_is_taken_where_the_default_is_too_old(monkeypatch):
    found = {
        "python3": interpreters.Interpreter(path=Path("/usr/bin/python3.10"), version="3.10", venv=True, headers=True),
        "python3.11": interpreters.Interpreter(
            path=Path("/usr/bin/python3.11"), version="3.11", venv=True, headers=True
        ),
    }
    monkeypatch.setattr(interpreters, "probe", lambda command: found.get(command[0]))
    assert interpreters.find().version == "3.11"


def test_traces_of_another_environment_do_not_reach_ours(monkeypatch, tmp_path):
    monkeypatch.setenv("AMENT_PREFIX_PATH", "/opt/ros/jazzy")
    monkeypatch.setenv("PYTHONPATH", "/opt/ros/jazzy/lib")
    monkeypatch.setenv("_ROS_WHEELS_BOOTSTRAP_COMPLETE", "1")
    variables = environment.clean_variables(environment.Layout(tmp_path))
    assert not {"AMENT_PREFIX_PATH", "PYTHONPATH", "_ROS_WHEELS_BOOTSTRAP_COMPLETE"} & set(variables)
    assert variables["PATH"].startswith(str(tmp_path / ".venv" / "bin"))


def make_clone(root):
    package = root / "ros2_ws" / "src" / "mola_interfaces"
    (package / "msg").mkdir(parents=True)
    (package / "package.xml").write_text("<package/>")
    (package / "msg" / "Chunk.msg").write_text("float64 x\n")
    (package / "code.py").write_text("x = 1\n")
    (root / "launch" / "params").mkdir(parents=True)
    (root / "launch" / "twin.launch.xml").write_text("<launch/>")
    return environment.Layout(root)


def test_only_what_colcon_reads_makes_the_workspace_stale(tmp_path):
    layout = make_clone(tmp_path)
    before = workspace.sources_digest(layout)
    (tmp_path / "ros2_ws/src/mola_interfaces/code.py").write_text("x = 2\n")
    (tmp_path / "launch/twin.launch.xml").write_text("<launch><!-- linked --></launch>")
    assert workspace.sources_digest(layout) == before
    (tmp_path / "ros2_ws/src/mola_interfaces/msg/Chunk.msg").write_text("float64 y\n")
    after_message = workspace.sources_digest(layout)
    assert after_message != before
    (tmp_path / "launch/rig.launch.xml").write_text("<launch/>")
    assert workspace.sources_digest(layout) != after_message


def test_tables_of_the_linters_do_not_make_the_command_line_stale(tmp_path):
    layout = environment.Layout(tmp_path)
    file = tmp_path / "pyproject.toml"
    file.write_text('[project]\nname = "a"\n\n[tool.ruff]\nline-length = 1\n')
    before = environment.project_tables(layout)
    file.write_text('[project]\nname = "a"\n\n[tool.ruff]\nline-length = 2\n')
    assert environment.project_tables(layout) == before
    file.write_text('[project]\nname = "b"\n\n[tool.ruff]\nline-length = 2\n')
    assert environment.project_tables(layout) != before


@pytest.mark.parametrize("name", ["installers", "requirements", "train"])
def test_every_locked_package_has_a_version_and_hashes_and_no_host(name):
    text = (SETUP / f"{name}.lock").read_text()
    assert not re.search(r"https?:|file:|--index|--find-links|@ ", text)
    entries = re.split(r"\n(?=[a-z])", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    for entry in entries:
        assert re.match(r"[a-z0-9-]+==[^ ]+ ", entry), entry.splitlines()[0]
        assert "--hash=sha256:" in entry, entry.splitlines()[0]


def test_every_requirement_is_locked():
    for name in ("installers", "requirements", "train"):
        wanted = re.findall(r"^([A-Za-z][A-Za-z0-9-]*)", (SETUP / f"{name}.in").read_text(), flags=re.MULTILINE)
        locked = re.findall(r"^([a-z0-9-]+)==", (SETUP / f"{name}.lock").read_text(), flags=re.MULTILINE)
        assert {word.lower() for word in wanted} <= set(locked)


@pytest.mark.parametrize(
    ("configured", "from_index", "expected"),
    [
        ("file:///wheels/torch-2.13.0%2Bcpu-cp311-cp311-linux_x86_64.whl", "", ["torch=={version}"]),
        ("torch-2.13.0-cp311-cp311-linux_x86_64.whl", "torch-2.13.0+cpu-cp311.whl", ["--index-url", pytorch.CPU_INDEX]),
    ],
)
def test_the_cpu_build_of_torch_is_taken_from_where_it_is(monkeypatch, configured, from_index, expected):
    def would_take(_python, arguments, *, variables):
        return from_index if "--index-url" in arguments else configured.replace("%2B", "+")

    monkeypatch.setattr(pytorch, "_would_take", would_take)
    source = pytorch.cpu_source(Path("python"), variables={})
    assert source[: len(expected)] == [word.format(version=pytorch.VERSION) for word in expected]


def test_cuda_is_never_fetched_in_the_stead_of_the_cpu_build(monkeypatch):
    cuda = "torch-2.13.0-cp311-cp311-linux_x86_64.whl"
    monkeypatch.setattr(pytorch, "_would_take", lambda _python, _arguments, *, variables: cuda)
    with pytest.raises(steps.SetupError, match="only training and export need it"):
        pytorch.cpu_source(Path("python"), variables={})


def environment_after_start(**inherited):
    """What mola.pth leaves of ``inherited`` in a Python of another environment."""
    code = "import json, os, sys; import mola_venv; print(json.dumps(dict(os.environ, prefix=sys.prefix)))"
    variables = {"PYTHONPATH": str(SETUP), "PATH": os.environ["PATH"], **inherited}
    base = interpreters.probe([sys.executable]).path
    result = subprocess.run([base, "-c", code], capture_output=True, text=True, check=True, env=variables)
    return json.loads(result.stdout)


def test_an_environment_announces_itself_to_ros():
    after = environment_after_start()
    assert after["AMENT_PREFIX_PATH"] == after["prefix"]


def test_the_libraries_of_a_parent_in_another_environment_are_not_inherited():
    parent = {"_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1", "LD_LIBRARY_PATH": "/parent/lib", "AMENT_PREFIX_PATH": "/parent"}
    after = environment_after_start(**parent)
    assert "_ROS_WHEELS_BOOTSTRAP_COMPLETE" not in after
    assert "LD_LIBRARY_PATH" not in after
    assert after["AMENT_PREFIX_PATH"] == after["prefix"]


def test_what_a_parent_of_the_same_environment_has_set_stays():
    base_lib = str(Path(environment_after_start()["prefix"]) / "lib")
    parent = {"_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1", "LD_LIBRARY_PATH": base_lib, "AMENT_PREFIX_PATH": "/overlay"}
    after = environment_after_start(**parent)
    assert after["_ROS_WHEELS_BOOTSTRAP_COMPLETE"] == "1"
    assert after["AMENT_PREFIX_PATH"] == "/overlay"


def test_a_test_run_takes_a_ros_domain_that_nobody_uses():
    spec = importlib.util.spec_from_file_location("mola_test_run", SETUP.parents[1] / "tests" / "run.py")
    run = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(run)
    free = run.free_domain(start=60)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as participant:
        participant.bind(("", 7400 + 250 * free + 10))
        other = run.free_domain(start=free - 1)
    assert other != free
    assert 1 <= other <= 101


@pytest.mark.parametrize("gpu", [True, False])
def test_what_training_needs_beside_torch_comes_from_the_lock_with_a_gpu_too(gpu, monkeypatch, tmp_path):
    monkeypatch.setattr(pytorch, "cpu_source", lambda _python, *, variables: ["torch of the CPU"])
    run = []
    shell = SimpleNamespace(run=run.append)
    pytorch.install(environment.Layout(tmp_path), gpu=gpu, shell=shell, variables={})
    locked, torch = run
    assert locked[-2:] == ["-r", pytorch.REQUIREMENTS]
    assert {"--require-hashes", "--no-build-isolation"} <= set(locked)
    assert torch[-1] == (f"torch=={pytorch.VERSION}" if gpu else "torch of the CPU")
    assert ("--no-deps" in torch) is not gpu
