"""torch, for training and export: the CUDA build beside an NVIDIA GPU, the CPU build elsewhere.

Both share one version number, so no lock file can tell them apart; what else torch, training and export need is locked.
"""

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from environment import HERE, Layout
from steps import SetupError, Shell

VERSION = "2.13.0"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
REQUIREMENTS = HERE / "train.lock"

_IMPATIENT = ("--retries", "0", "--timeout", "10")


def has_gpu() -> bool:
    """Whether an NVIDIA driver answers."""
    if shutil.which("nvidia-smi") is None:
        return False
    return subprocess.run(["nvidia-smi", "-L"], capture_output=True, check=False).returncode == 0


def install(layout: Layout, *, gpu: bool, shell: Shell, variables: Mapping[str, str]) -> None:
    """SetupError where the CPU build cannot be had; CUDA's gigabytes are never fetched in its stead."""
    pip = [layout.python, "-m", "pip", "install", "--progress-bar=off"]
    # beside a GPU torch brings CUDA's libraries as its dependencies, which no lock names
    torch = [f"torch=={VERSION}"] if gpu else ["--no-deps", *cpu_source(layout.python, variables=variables)]
    shell.run([*pip, "--no-deps", "--require-hashes", "--no-build-isolation", "-r", REQUIREMENTS])
    shell.run([*pip, *torch])


def cpu_source(python: Path, *, variables: Mapping[str, str]) -> list[str]:
    """The arguments that make pip take the CPU build: from where pip is configured to look, else from PyTorch's index."""
    wanted = f"torch=={VERSION}"
    if "+cpu" in _would_take(python, [wanted], variables=variables):
        return [wanted]
    from_index = ["--index-url", CPU_INDEX, *_IMPATIENT, wanted]
    if "+cpu" in _would_take(python, from_index, variables=variables):
        return from_index
    raise SetupError(
        f"the CPU build of torch {VERSION} is neither where pip looks nor at {CPU_INDEX}; "
        "only training and export need it; to try again: make setup"
    )


def _would_take(python: Path, arguments: list[str], *, variables: Mapping[str, str]) -> str:
    """The file that pip would install for ``arguments``; empty where it finds none."""
    command = [str(python), "-m", "pip", "install", "--dry-run", "--no-deps", "--ignore-installed", "--quiet"]
    result = subprocess.run(
        [*command, "--report", "-", *arguments], capture_output=True, text=True, check=False, env=dict(variables)
    )
    if result.returncode != 0:
        return ""
    (item,) = json.loads(result.stdout)["install"]
    url: str = item["download_info"]["url"]
    return url.replace("%2B", "+")
