"""Bundles that say something else than they should."""

from pathlib import Path

from mola_core.contracts.bundle import MANIFEST, Manifest, digest_of, read_manifest


def rewrite(bundle: Path, **changes: object) -> Manifest:
    """Say other things in the manifest of a copied bundle."""
    manifest = Manifest.model_validate(read_manifest(bundle).model_dump() | changes)
    (bundle / MANIFEST).write_text(manifest.model_dump_json(), encoding="utf-8")
    return manifest


def rehash(bundle: Path, name: str) -> None:
    """Let the manifest of a copied bundle stand by a file that was changed."""
    manifest = read_manifest(bundle)
    rewrite(bundle, files=dict(manifest.files) | {name: digest_of(bundle / name)})
