"""Real DDS between processes: a domain of its own, loopback only, field checks on, endpoints waited for."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

rclpy = pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("mola_interfaces", reason="needs the built workspace")

sys.path.append(str(Path(__file__).parent))  # import mode importlib does not
from ros_probe import Probe  # noqa: E402 (only where ROS is)
from ros_rig import twin_controller, write_recording, write_site  # noqa: E402

_REPOSITORY = Path(__file__).parents[2]
_PROFILE = _REPOSITORY / "launch" / "dds" / "fastdds.xml"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.ros)


@pytest.fixture(scope="session", autouse=True)
def ros_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Set for this process and, by inheritance, for the nodes that it starts."""
    patch = pytest.MonkeyPatch()
    # sessions that run at the same time differ in their process ids; domains above 101 meet ephemeral ports
    patch.setenv("ROS_DOMAIN_ID", str(1 + os.getpid() % 101))
    patch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    patch.setenv("ROS_PYTHON_CHECK_FIELDS", "1")
    patch.setenv("ROS_LOG_DIR", str(tmp_path_factory.mktemp("ros_log")))
    if _PROFILE.exists():
        patch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", str(_PROFILE))
        patch.setenv("FASTDDS_DEFAULT_PROFILES_FILE", str(_PROFILE))
    yield
    patch.undo()


@pytest.fixture
def probe(ros_environment: None) -> Iterator[Probe]:
    """A node in this process, spun only while something is waited for."""
    with Probe() as probe:
        yield probe


StartNode = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start_node(ros_environment: None, tmp_path: Path) -> Iterator[StartNode]:
    """Start the node of a module of ``mola_nodes``, or of a file here, in a process of its own.

    All are ended with the test; their logs are in ``tmp_path``.
    """
    processes: list[subprocess.Popen[str]] = []

    def start(module: str, *, name: str, **parameters: object) -> "subprocess.Popen[str]":
        arguments = ["--ros-args", "-r", f"__node:={name}"]
        for key, value in parameters.items():
            arguments += ["-p", f"{key}:={value}"]
        log = (tmp_path / f"{name}.{len(processes)}.log").open("w")
        if module.endswith(".py"):
            program = [str(Path(__file__).parent / module)]
        else:
            program = ["-c", f"import sys; from mola_nodes.{module} import main; sys.exit(main())"]
        command = [sys.executable, *program, *arguments]
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, text=True)
        log.close()
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for log in sorted(tmp_path.glob("*.log")):
        print(f"--- {log.name}\n{log.read_text()}")


@pytest.fixture(scope="session")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The twin's UR controller, at the address of ``site``."""
    with twin_controller(tmp_path_factory.mktemp("twin")):
        yield


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording for the cameras of ``site``."""
    return write_recording(tmp_path_factory.mktemp("recording") / "camera.db3")


@pytest.fixture
def site(recording: Path, tmp_path: Path) -> Path:
    """A site file of the twin's controller and two recorded cameras."""
    return write_site(tmp_path / "site.yaml", recording=recording)
