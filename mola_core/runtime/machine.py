"""What this machine could run."""

import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from mola_core.contracts.bundle import CUDA_ONNXRUNTIME, Machine, Runtime

_PACKAGES: dict[Runtime, tuple[str, ...]] = {
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "tensorrt": ("tensorrt", "tensorrt-cu12", "tensorrt-cu13"),
    "tensorrt_rtx": ("tensorrt-rtx", "tensorrt-rtx-cu12", "tensorrt-rtx-cu13"),
    "aot_inductor": ("torch",),
}
"""Any of them brings the runtime: NVIDIA's plain names stand for one CUDA version or another, the others say which."""
_TIMEOUT_S = 10.0


def this_machine() -> Machine:
    """GPU architecture and installed runtimes; nothing is imported that takes long."""
    found = {runtime: _version(names) for runtime, names in _PACKAGES.items()}
    runtimes: dict[str, str] = {runtime: installed for runtime, installed in found.items() if installed is not None}
    arch = gpu_arch()
    if arch != "cpu" and _version(("onnxruntime-gpu",)) is not None:
        runtimes[CUDA_ONNXRUNTIME] = runtimes["onnxruntime"]
    return Machine(arch=arch, runtimes=runtimes)


@cache
def gpu_arch() -> str:
    """``sm_89`` and the like of the first NVIDIA GPU; ``cpu`` where there is none or no driver. Asked once a process: the driver takes
    up to seconds to answer, and a list of bundles asks for each.
    """
    command = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return "cpu"
    first = next(iter(result.stdout.split()), "")
    return f"sm_{first.replace('.', '')}" if first.replace(".", "").isdigit() else "cpu"


def _version(packages: tuple[str, ...]) -> str | None:
    for package in packages:
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return None
