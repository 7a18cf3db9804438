"""A bundle in the making: the same folder as a bundle, without the promise that it never changes."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from mola_core.contracts.bundle import BuildRecord, Manifest, Stage
from mola_core.contracts.errors import MolaError
from mola_core.export.errors import ExportError

DRAFT = "draft.json"


@dataclass(frozen=True)
class Draft:
    """A folder with ``draft.json``, which is a manifest without digests."""

    path: Path
    manifest: Manifest


def write_draft(draft: Draft) -> None:
    """Put down what the draft says of itself."""
    (draft.path / DRAFT).write_text(draft.manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_draft(path: Path) -> Draft:
    """The draft in ``path``.

    Raises:
        ExportError: there is none, or it is damaged.
    """
    try:
        text = (path / DRAFT).read_text(encoding="utf-8")
        return Draft(path=path, manifest=Manifest.model_validate_json(text))
    except OSError as error:
        raise ExportError(f"{path} holds no {DRAFT}; make one with: mola export CHECKPOINT --out {path}") from error
    except ValueError as error:
        raise ExportError(f"{path / DRAFT} is damaged: {error}") from error


def with_build(draft: Draft, build: BuildRecord) -> Draft:
    """The draft with one more build, in place of an older one of the same kind; the first listed is preferred."""
    kept = tuple(other for other in draft.manifest.builds if other.label != build.label)
    manifest = draft.manifest.model_copy(update={"builds": (build, *kept)})
    return Draft(path=draft.path, manifest=Manifest.model_validate(manifest.model_dump()))


def onnx_path(stage: Stage) -> str:
    """Of a stage's graph, in the draft and in the bundle made of it."""
    return f"onnx/{stage}.onnx"


def fresh_folder(path: Path) -> Path:
    """An empty folder at ``path``; an old draft there is replaced, anything else refused.

    Raises:
        ExportError: something is there that is no draft.
    """
    if path.exists() and any(path.iterdir()):
        if not (path / DRAFT).is_file():
            raise ExportError(f"{path} is not empty and holds no draft; choose another --out")
        shutil.rmtree(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MolaError(f"{path} cannot be made ({error.strerror})") from error
    return path
