"""A policy run by torch: what evaluations during research use, and what engines must equal."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mola_core.contracts.io_spec import IoSpec
from mola_core.contracts.normalization import Normalization
from mola_core.export.from_checkpoint import normalization_of
from mola_core.export.stages import StageOptions, max_settled_of, passes_on, stages_of
from mola_core.export.torch_engine import Mode, TorchEngine
from mola_core.nets.mola import Mola
from mola_core.runtime.engine_policy import EngineActor, EngineImagination, Identity
from mola_core.runtime.language import SentenceEncoder
from mola_core.runtime.policy import ComposedPolicy
from mola_core.runtime.stages import Stage
from mola_core.training.checkpoint import load_policy_modules
from mola_core.training.language import encoder_of


def open_torch_policy(
    path: Path, *, options: StageOptions, device: str = "cpu", language_weights: Path | None = None
) -> "TorchPolicy":
    """The policy of a checkpoint; ``language_weights`` is the folder of a sentence encoder that the project does not bring.

    Raises:
        CheckpointError: not the checkpoint of a trained policy, or one trained with another sentence encoder.
        ConfigError: the weights of the encoder cannot be loaded, or there is no use for them.
    """
    mola, checkpoint = load_policy_modules(path, on=device)
    return torch_policy(
        mola,
        identity=Identity(bundle_id=f"checkpoint-{checkpoint.digest[:12]}", io_spec=checkpoint.recipe.io),
        normalization=normalization_of(checkpoint),
        language=encoder_of(checkpoint, weights=language_weights),
        options=options,
        device=device,
    )


def torch_policy(
    mola: Mola,
    *,
    identity: Identity,
    normalization: Normalization,
    language: SentenceEncoder,
    options: StageOptions,
    device: str = "cpu",
    mode: Mode = "eager",
    ready: Mapping[Stage, TorchEngine] | None = None,
    preview: bool = True,
) -> "TorchPolicy":
    """``mola`` as a policy; compiled stages compile in their first calls. ``ready`` holds engines to be taken as they are."""
    io: IoSpec = identity.io_spec
    cut = stages_of(mola, io=io, options=options)
    engines = {
        stage: (ready or {}).get(stage) or TorchEngine(module, device=device, mode=mode)
        for stage, module in cut.items()
        if preview or stage != "preview"
    }
    imagination = EngineImagination(
        identity,
        encoder=engines.get("encoder"),
        video=engines.get("video"),
        preview=engines.get("preview"),
        language=language,
        passes_on=frozenset(passes_on(cut)),
    )
    actor = EngineActor(
        identity,
        engine=engines["actor"],
        normalization=normalization,
        language=language,
        modalities=tuple(mola.mixture.members) if mola.mixture is not None else (),
        max_settled=max_settled_of(mola),
    )
    return TorchPolicy(io_spec=io, imagination=imagination, actor=actor, engines=engines)


class TorchPolicy(ComposedPolicy):
    """Both halves by torch."""

    def __init__(
        self,
        *,
        io_spec: IoSpec,
        imagination: EngineImagination,
        actor: EngineActor,
        engines: Mapping[Stage, TorchEngine],
    ) -> None:
        super().__init__(io_spec=io_spec, imagination=imagination, actor=actor)
        self.engines = engines

    def warm(self) -> None:
        """Compile and capture what is to be."""
        for engine in self.engines.values():
            engine.warm()

    def close(self) -> None:
        """Free what was captured; safe to call twice."""
        for engine in self.engines.values():
            engine.close()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Meanwhile every stage ends when the device has finished it, so that stages can be timed; together they take longer so."""
        for engine in self.engines.values():
            engine.waits = True
        try:
            yield
        finally:
            for engine in self.engines.values():
                engine.waits = False
