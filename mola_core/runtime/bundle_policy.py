"""From a bundle on disk to its halves, running: verified, a build chosen for this machine, loaded, warmed, self-tested."""

from collections.abc import Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from mola_core.contracts.bundle import (
    BuildRecord,
    Manifest,
    choose_build,
    read_manifest,
    verify_files,
)
from mola_core.runtime.bundle_language import language_of
from mola_core.runtime.engine_policy import EngineActor, EngineImagination, Identity
from mola_core.runtime.engines.loading import EngineSource, load_engine
from mola_core.runtime.engines.protocol import Engine
from mola_core.runtime.golden import parity_of, read_golden, require_parity
from mola_core.runtime.language import SentenceEncoder
from mola_core.runtime.machine import this_machine
from mola_core.runtime.policy import ComposedPolicy
from mola_core.runtime.stages import Stage

IMAGINATION_STAGES: tuple[Stage, ...] = ("encoder", "video", "preview")
ACTOR_STAGES: tuple[Stage, ...] = ("actor",)
CONTROL_STAGES: frozenset[Stage] = frozenset({"encoder", "video", "actor"})
"""On which the arm depends; on a card they come before all others."""


@dataclass(frozen=True)
class OpenOptions:
    """How a bundle is opened."""

    runtime: str | None = None
    """None: the first build that runs here."""
    threads: int = 0
    """Of each CPU engine; 0 leaves the choice to the runtime."""
    verify: bool = True
    """Hash every file first; a caller that has done so just now may skip it."""
    self_test: bool = True
    """Run every engine on its golden inputs before it serves."""
    preview: bool = True
    """Load the engine for people's pictures too."""


@dataclass(frozen=True)
class OpenedBundle:
    """A bundle that has been found good for this machine."""

    path: Path
    manifest: Manifest
    build: BuildRecord
    options: OpenOptions

    @property
    def identity(self) -> Identity:
        """Of its halves."""
        return Identity(bundle_id=self.manifest.bundle_id, io_spec=self.manifest.io)


def open_bundle(path: Path, options: OpenOptions | None = None) -> OpenedBundle:
    """Read, verify and choose; no engine is loaded yet.

    Raises:
        BundleError: damaged, or nothing in it runs here.
    """
    options = options or OpenOptions()
    manifest = read_manifest(path)
    if options.verify:
        verify_files(path, manifest)
    build = choose_build(manifest, this_machine(), runtime=options.runtime)
    return OpenedBundle(path=path, manifest=manifest, build=build, options=options)


def open_imagination(bundle: OpenedBundle) -> EngineImagination:
    """The first half, warm and self-tested.

    Raises:
        BundleError: an engine, or the sentence encoder, does not give what it gave when the bundle was made.
        EngineError: an engine does not load.
    """
    language = _language(bundle)
    wanted = [stage for stage in IMAGINATION_STAGES if bundle.options.preview or stage != "preview"]
    with ExitStack() as loaded:
        engines = _load(bundle, wanted, loaded)
        imagination = EngineImagination(
            bundle.identity,
            encoder=engines.get("encoder"),
            video=engines.get("video"),
            preview=engines.get("preview"),
            language=language,
            passes_on=frozenset(bundle.manifest.passes_on),
        )
        loaded.pop_all()
    return imagination


def open_actor(bundle: OpenedBundle) -> EngineActor:
    """The second half, warm and self-tested. Raises as :func:`open_imagination`."""
    language = _language(bundle)
    with ExitStack() as loaded:
        actor = EngineActor(
            bundle.identity,
            engine=_load(bundle, ACTOR_STAGES, loaded)["actor"],
            normalization=bundle.manifest.normalization,
            language=language,
            modalities=bundle.manifest.modalities,
            max_settled=bundle.manifest.max_settled,
        )
        loaded.pop_all()
    return actor


def open_bundle_policy(path: Path, options: OpenOptions | None = None) -> "BundlePolicy":
    """Both halves in one process. Raises as :func:`open_bundle` and :func:`open_imagination`."""
    bundle = open_bundle(path, options)
    with ExitStack() as opened:
        imagination = opened.enter_context(closing(open_imagination(bundle)))
        policy = BundlePolicy(bundle, imagination=imagination, actor=open_actor(bundle))
        opened.pop_all()
    return policy


class BundlePolicy(ComposedPolicy):
    """A whole bundle; close it, or use ``with``."""

    def __init__(self, bundle: OpenedBundle, *, imagination: EngineImagination, actor: EngineActor) -> None:
        super().__init__(io_spec=bundle.manifest.io, imagination=imagination, actor=actor)
        self.bundle = bundle
        self._halves = (imagination, actor)

    def close(self) -> None:
        """Free the engines; safe to call twice."""
        for half in self._halves:
            half.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def load_stage(bundle: OpenedBundle, stage: Stage) -> Engine:
    """One engine of the chosen build, warm; self-tested where the options say so. What does not get so far is freed."""
    build, options = bundle.build, bundle.options
    source = EngineSource(
        name=stage,
        path=bundle.path / build.files[stage],
        device="cpu" if build.arch == "cpu" else "cuda",
        threads=options.threads,
        background=stage not in CONTROL_STAGES,
    )
    with ExitStack() as loaded:
        engine = loaded.enter_context(load_engine(build.runtime, source))
        engine.warm()
        if options.self_test:
            record = parity_of(engine, read_golden(bundle.path / golden_path(stage)))
            what = f"{stage} of bundle {bundle.manifest.bundle_id} ({build.label})"
            require_parity(record, precision=build.precision, what=what)
        loaded.pop_all()
    return engine


def golden_path(stage: Stage) -> str:
    """Of a stage's golden tensors, in the bundle."""
    return f"golden/{stage}.safetensors"


def _load(bundle: OpenedBundle, wanted: Iterable[Stage], loaded: ExitStack) -> dict[Stage, Engine]:
    """Those of ``wanted`` that the model has; ``loaded`` closes them."""
    return {stage: loaded.enter_context(load_stage(bundle, stage)) for stage in wanted if stage in bundle.build.files}


def _language(bundle: OpenedBundle) -> SentenceEncoder:
    return language_of(bundle.path, bundle.manifest, self_test=bundle.options.self_test)
