"""The virtual environment: every wheel of the lock files, nothing else, made anew whenever they change."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from interpreters import Interpreter
from steps import SetupError, Shell

HERE = Path(__file__).resolve().parent
INSTALLERS, REQUIREMENTS = HERE / "installers.lock", HERE / "requirements.lock"

_LEAKING = (
    "AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH", "COLCON_PREFIX_PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH",
    "VIRTUAL_ENV", "_ROS_WHEELS_BOOTSTRAP_COMPLETE", "MAKEFLAGS", "MFLAGS", "MAKELEVEL",
)  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """Where things are."""

    repository: Path

    @property
    def venv(self) -> Path:
        return self.repository / ".venv"

    @property
    def python(self) -> Path:
        return self.venv / "bin" / "python"

    @property
    def log(self) -> Path:
        return self.venv / "setup.log"

    @property
    def build(self) -> Path:
        """Apart from ros2_ws/build, which belongs to the user's own colcon."""
        return self.venv / "build"

    @property
    def site_packages(self) -> Path:
        (folder,) = (self.venv / "lib").glob("python3.*/site-packages")
        return folder


def clean_variables(layout: Layout) -> dict[str, str]:
    """The caller's environment without another Python's, ROS's or make's traces in it."""
    variables = {name: value for name, value in os.environ.items() if name not in _LEAKING}
    binaries = [str(layout.venv / "bin"), *variables.get("PATH", os.defpath).split(os.pathsep)]
    variables.update(PATH=os.pathsep.join(binaries), VIRTUAL_ENV=str(layout.venv), PIP_USER="0")
    variables.update(PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_NO_INPUT="1", PYTHONNOUSERSITE="1")
    return variables


def make(layout: Layout, *, interpreter: Interpreter, shell: Shell) -> None:
    """An empty environment in the place of whatever was there, an interrupted attempt included."""
    for path in layout.venv.iterdir() if layout.venv.exists() else ():
        if path == layout.log:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    shell.run([interpreter.path, "-m", "venv", layout.venv])


def install_wheels(layout: Layout, *, shell: Shell) -> None:
    """Exactly the lock files; hashes are checked, and source packages build with the locked installers."""
    pip = [layout.python, "-m", "pip", "install", "--no-deps", "--no-compile", "--require-hashes", "--progress-bar=off"]
    shell.run([*pip, "-r", INSTALLERS])
    shell.run([*pip, "--no-build-isolation", "-r", REQUIREMENTS])


def install_core(layout: Layout, *, shell: Shell) -> None:
    """``mola_core`` and the command line, editable."""
    pip = [layout.python, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--editable"]
    shell.run([*pip, layout.repository])


def project_tables(layout: Layout) -> str:
    """What pip reads of pyproject.toml: all that stands before the tables of the linters."""
    return (layout.repository / "pyproject.toml").read_text(encoding="utf-8").partition("\n[tool.ruff]")[0]


def interpreter_of(layout: Layout) -> Path | None:
    """The Python that an existing environment was made with, if it is still there."""
    try:
        lines = (layout.venv / "pyvenv.cfg").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    settings = dict(line.split(" = ", 1) for line in lines if " = " in line)
    path = Path(settings.get("executable", ""))
    return path if path.is_file() and layout.python.exists() else None


def require(interpreter: Interpreter | None, *, wanted: str | None) -> Interpreter:
    """The interpreter, or SetupError where neither the machine nor apt had one."""
    if interpreter is None:
        what = f"{wanted} is not Python 3.11 or 3.12" if wanted else "no Python 3.11 or 3.12 was found"
        raise SetupError(f"{what}; install one and name it: make setup PYTHON=/path/to/python3.12")
    return interpreter
