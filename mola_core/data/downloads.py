"""Downloaded weights that did not arrive whole: which file it is."""

from pathlib import Path

from safetensors import SafetensorError, safe_open

_SUFFIX = ".safetensors"


def said_of_damage(weights: str | Path, error: SafetensorError) -> str:
    """What made a loader fail with ``error``, which names no file: one sentence with the file, its size, and what to do.

    ``weights`` is a folder, or a name whose files the client of the model hub keeps.
    """
    for file in _files_of(weights):
        try:
            with safe_open(file, framework="numpy"):
                pass
        except (OSError, SafetensorError) as found:
            size = file.stat().st_size if file.exists() else 0
            return f"{file} is damaged or was not downloaded whole: it has {size} bytes ({found}); delete it and download it again"
    return f"weights at {str(weights)!r} are damaged or were not downloaded whole ({error}); download them again"


def _files_of(weights: str | Path) -> list[Path]:
    folder = Path(weights)
    if not folder.exists():
        from huggingface_hub.constants import HF_HUB_CACHE  # noqa: PLC0415  # seconds to import, and only where something is wrong

        folder = Path(HF_HUB_CACHE) / f"models--{str(weights).replace('/', '--')}"
    return sorted(folder.rglob(f"*{_SUFFIX}"))
