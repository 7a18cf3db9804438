"""What this machine could run."""

import subprocess
from importlib.metadata import PackageNotFoundError, version

from mola_core.contracts.bundle import CUDA_ONNXRUNTIME, Machine

_PACKAGES = {
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "tensorrt": ("tensorrt",),
    "tensorrt_rtx": ("tensorrt-rtx",),
    "aot_inductor": ("torch",),
}
_TIMEOUT_S = 10.0


def this_machine() -> Machine:
    """GPU architecture and installed runtimes; nothing is imported that takes long."""
    found = {runtime: _version(names) for runtime, names in _PACKAGES.items()}
    runtimes = {runtime: installed for runtime, installed in found.items() if installed is not None}
    arch = gpu_arch()
    if arch != "cpu" and _version(("onnxruntime-gpu",)) is not None:
        runtimes[CUDA_ONNXRUNTIME] = runtimes["onnxruntime"]
    return Machine(arch=arch, runtimes=runtimes)


def gpu_arch() -> str:
    """``sm_89`` and the like of the first NVIDIA GPU; ``cpu`` where there is none or no driver."""
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
