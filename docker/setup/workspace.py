"""The ROS workspace, built by colcon straight into the environment.

Python packages are linked, so an edit needs no build. What makes one stale is what colcon reads: manifests, set-up files,
messages, CMake, and which launch files there are.
"""

from collections.abc import Iterator
from pathlib import Path

from environment import HERE, Layout
from steps import Shell, digest

PYTHON_PACKAGES = ("mola_drivers", "mola_twin", "mola_nodes")
_BUILD_FILES = ("package.xml", "setup.py", "setup.cfg", "CMakeLists.txt")
_INTERFACES = (".msg", ".srv", ".action")


def sources_digest(layout: Layout) -> str:
    """Of everything that the build depends on."""
    contents = sorted(_build_inputs(layout.repository / "ros2_ws" / "src"))
    launch = sorted((layout.repository / "launch").rglob("*"))
    names = [str(path) for path in launch if path.is_file() and "__pycache__" not in path.parts]
    return digest(*contents, *names, *sorted(HERE.glob("*.cmake")), HERE / "workspace.py", HERE / "mola_venv.py")


def build(layout: Layout, *, shell: Shell) -> None:
    """``colcon build`` with the wheels as the underlay and the environment as the install folder."""
    workspace = layout.repository / "ros2_ws"
    folders = ["--base-paths", workspace / "src", "--build-base", layout.build, "--install-base", layout.venv]
    options = ["--merge-install", "--symlink-install", "--event-handlers", "console_cohesion+"]
    cmake = [
        "-DBUILD_TESTING=OFF",
        f"-DPython3_EXECUTABLE={layout.python}",
        f"-DCMAKE_PROJECT_INCLUDE={HERE / 'drop_missing_includes.cmake'}",
    ]
    colcon = [layout.venv / "bin" / "colcon", "--log-base", layout.venv / "log"]
    shell.run(
        [*colcon, "build", *folders, *options, "--cmake-args", *cmake],
        AMENT_PREFIX_PATH=str(layout.venv),
        COLCON_DEFAULTS_FILE="",
    )


def link(layout: Layout) -> None:
    """Let the environment's Python find the packages and ROS find the environment, with nothing sourced."""
    site_packages = layout.site_packages
    module = (HERE / "mola_venv.py").read_text(encoding="utf-8")
    (site_packages / "mola_venv.py").write_text(module, encoding="utf-8")
    lines = [*(str(layout.build / package) for package in PYTHON_PACKAGES), "import mola_venv"]
    (site_packages / "mola.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _build_inputs(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.name in _BUILD_FILES or path.suffix in _INTERFACES:
            yield path
