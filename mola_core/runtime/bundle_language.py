"""The sentence encoder that a bundle's model was trained with: installed on this machine, or brought along by the bundle."""

from functools import cache
from pathlib import Path
from weakref import WeakValueDictionary

from mola_core.contracts.bundle import BundledLanguageRecord, BundleError, Manifest
from mola_core.runtime.exported_text import ExportedText
from mola_core.runtime.golden import read_golden
from mola_core.runtime.language import RememberingEncoder, SentenceEncoder

_brought: WeakValueDictionary[str, RememberingEncoder] = WeakValueDictionary()
"""By digest, as long as a half of any bundle speaks through it: see :func:`_installed`."""


def language_of(path: Path, manifest: Manifest, *, self_test: bool) -> SentenceEncoder:
    """The encoder of the bundle in ``path``; bundles of the same encoder share one.

    Raises:
        BundleError: another encoder, under which the same words would mean other numbers; one that does not give what it gave
            when the bundle was made; or one that neither is installed nor comes along.
        EngineError: its graph does not load.
    """
    record = manifest.language
    if isinstance(record, BundledLanguageRecord):
        known = _brought.get(record.digest)
        if known is None:
            known = _brought[record.digest] = RememberingEncoder(
                _brought_along(path, record, bundle_id=manifest.bundle_id, self_test=self_test)
            )
        return known
    if record.encoder != "minilm":
        raise BundleError(
            f"bundle {manifest.bundle_id} needs the sentence encoder {record.encoder!r} and does not bring it along; without "
            "torch runs minilm, and clip where the bundle was made with: mola export --language-weights FOLDER"
        )
    encoder = _installed(record.length)
    if encoder.digest != record.digest:
        raise BundleError(
            f"bundle {manifest.bundle_id} was trained with sentence encoder {record.digest}, installed is {encoder.digest}; "
            "install the version that the lock names"
        )
    return encoder


def _brought_along(path: Path, record: BundledLanguageRecord, *, bundle_id: str, self_test: bool) -> ExportedText:
    encoder = ExportedText(graph=path / record.graph, tokenizer=path / record.tokenizer)
    if encoder.digest != record.digest:
        raise BundleError(
            f"bundle {bundle_id} was trained with sentence encoder {record.digest}, the one in it is {encoder.digest}; "
            "fetch or make the bundle again"
        )
    if self_test:
        encoder.self_test(read_golden(path / record.golden), what=f"sentence encoder of bundle {bundle_id}")
    return encoder


@cache
def _installed(length: int) -> SentenceEncoder:
    """One for all bundles of this process: a bundle that takes over, or runs in the shadow, finds the instruction encoded already."""
    from mola_core.runtime.minilm import MiniLm  # noqa: PLC0415  # loads onnxruntime

    return RememberingEncoder(MiniLm(length=length))
