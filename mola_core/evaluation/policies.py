"""From what the command line names to something that can be rolled out: a checkpoint, a bundle, the expert, or nobody."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from mola_core.contracts.bundle import MANIFEST, digest_of, read_manifest
from mola_core.evaluation.conditions import Control
from mola_core.evaluation.errors import EvaluationError
from mola_core.evaluation.sources import ChunkSource, HoldingSource, PolicySource, ScriptedSource
from mola_core.runtime.language import require_option
from mola_core.runtime.policy import Policy

_IN_THE_NETWORK: dict[Control, Literal["same", "noisy"]] = {"same-frame": "same", "noisy-frame": "noisy"}
WITHOUT_POLICY = ("expert", "hold")
CHECKPOINT_FILE = "checkpoint.json"


@dataclass(frozen=True)
class PolicyChoice:
    """What to roll out; small and picklable, every worker opens it for itself."""

    name: str
    """``expert``, ``hold``, or the path of a checkpoint or bundle."""
    control: Control = "none"
    execute_steps: int | None = None
    video_steps: int | None = None
    """Denoising passes of a checkpoint's imagination; None: its recipe's."""
    action_steps: int | None = None
    """Integration steps of a checkpoint's head; None: its recipe's, or the head's own."""
    runtime: str | None = None
    """Runner of a bundle's engines; None takes the first that this machine can run."""
    device: str = "cpu"
    language_weights: Path | None = None
    """Folder of CLIP or UMT5, for a checkpoint whose recipe uses it; no part of the identity: a checkpoint names its encoder."""


def identity_of(choice: PolicyChoice) -> str:
    """What tells this policy from any other: the word, or a digest of the weights.

    Raises:
        EvaluationError: neither a word we know nor a folder with a policy, or something was chosen that it has no use for.
        ConfigError: it has no use for ``language_weights``, or they are no folder.
    """
    if choice.name in WITHOUT_POLICY:
        if choice.control != "none" or choice.execute_steps is not None or choice.language_weights is not None:
            raise EvaluationError(
                f"--policy {choice.name} looks at nothing: it takes no --control, no --execute-steps and no --language-weights"
            )
        for option in _steps_asked(choice):
            raise EvaluationError(f"--policy {choice.name} computes nothing in steps: leave {option} out")
        return choice.name
    path = Path(choice.name)
    if (path / CHECKPOINT_FILE).is_file():
        if choice.language_weights is not None:
            require_option(_language(path / CHECKPOINT_FILE), weights=choice.language_weights)
        _require_steps_to_choose(choice, path / CHECKPOINT_FILE)
        return f"checkpoint {_field(path / CHECKPOINT_FILE, 'digest')[:16]}"
    if (path / MANIFEST).is_file():
        _refuse_weights_for_a_bundle(choice)
        _refuse_steps_for_a_bundle(choice)
        manifest = read_manifest(path)
        return f"bundle {manifest.bundle_id} {digest_of(path / MANIFEST)[:12]} {choice.runtime or ''}".rstrip()
    raise EvaluationError(
        f"--policy {choice.name!r} is neither {' nor '.join(WITHOUT_POLICY)} nor a folder with {CHECKPOINT_FILE} or {MANIFEST}"
    )


def open_source(choice: PolicyChoice, *, settle_ns: int = 0) -> ChunkSource:
    """The source of chunks for :func:`~mola_core.evaluation.rollout.roll_out`; for ``settle_ns`` see :class:`PolicySource`."""
    if choice.name == "expert":
        return ScriptedSource()
    if choice.name == "hold":
        return HoldingSource()
    return PolicySource(open_policy(choice), execute_steps=choice.execute_steps, settle_ns=settle_ns)


def open_policy(choice: PolicyChoice) -> Policy:
    """A checkpoint run by torch, or a bundle run by its engines.

    Raises:
        EvaluationError: the control needs what this kind of policy does not offer, or a bundle is given an encoder.
        MolaError: the checkpoint or bundle is damaged or does not run here, or the encoder is not the checkpoint's.
    """
    path = Path(choice.name)
    if (path / CHECKPOINT_FILE).is_file():
        from mola_core.export.from_checkpoint import acting_options  # noqa: PLC0415  # torch takes seconds to import
        from mola_core.export.torch_policy import open_torch_policy  # noqa: PLC0415

        options = acting_options(path)
        options = replace(
            options,
            video_steps=choice.video_steps or options.video_steps,
            action_steps=choice.action_steps or options.action_steps,
        )
        if choice.control in _IN_THE_NETWORK:
            options = replace(options, control=_IN_THE_NETWORK[choice.control])
        return open_torch_policy(path, options=options, device=choice.device, language_weights=choice.language_weights)
    if choice.control in _IN_THE_NETWORK:
        raise EvaluationError(
            f"--control {choice.control} intervenes inside the network: give the checkpoint, not a bundle"
        )
    _refuse_weights_for_a_bundle(choice)
    _refuse_steps_for_a_bundle(choice)
    from mola_core.runtime.bundle_policy import OpenOptions, open_bundle_policy  # noqa: PLC0415  # as above

    # a worker a core: one thread each
    return open_bundle_policy(path, OpenOptions(runtime=choice.runtime, threads=1))


def _refuse_weights_for_a_bundle(choice: PolicyChoice) -> None:
    if choice.language_weights is not None:
        raise EvaluationError(
            f"--language-weights {choice.language_weights}: bundle {choice.name} brings its own sentence encoder; leave the option out"
        )


def _steps_asked(choice: PolicyChoice) -> list[str]:
    """The options that say numbers of steps, as they were given."""
    asked = {"--video-steps": choice.video_steps, "--action-steps": choice.action_steps}
    return [f"{option} {steps}" for option, steps in asked.items() if steps is not None]


def _refuse_steps_for_a_bundle(choice: PolicyChoice) -> None:
    for option in _steps_asked(choice):
        raise EvaluationError(
            f"{option}: the steps of bundle {choice.name} were fixed on export; give the checkpoint, or leave the option out"
        )


def _require_steps_to_choose(choice: PolicyChoice, header: Path) -> None:
    """Refuse steps where the model of the checkpoint with ``header`` takes none: they would change nothing, under another name."""
    if choice.video_steps is not None and _field(header, "recipe", "model", "backbone") == "None":
        raise EvaluationError(
            f"--video-steps {choice.video_steps}: the policy of {choice.name} imagines nothing; leave the option out"
        )
    if choice.action_steps is not None and _field(header, "recipe", "model", "head", "kind") == "ar":
        raise EvaluationError(
            f"--action-steps {choice.action_steps}: the head of {choice.name} says one number after the other, without steps; leave "
            "the option out"
        )


def _language(path: Path) -> str:
    """The kind of sentence encoder of the checkpoint whose header is ``path``."""
    return _field(path, "recipe", "model", "language", "encoder")


def _field(path: Path, *names: str) -> str:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        for name in names:
            found = found[name]
        return str(found)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EvaluationError(f"{path} cannot be read ({error})") from error
