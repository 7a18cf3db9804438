"""The published files as weights of a :class:`~mola_core.nets.mola.Mola` of the release's configuration."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from mola_core.nets.config import (
    EdmHeadConfig,
    FeatureTokensConfig,
    MolaConfig,
    SvdConfig,
    VideoFormerConfig,
    WanConfig,
)
from mola_core.nets.importing.modules import head_plan, idm_plan, tokens_plan, video_former_plan
from mola_core.nets.importing.plan import ImportRefusedError, Plan, Taken, translated
from mola_core.nets.importing.reading import read_diffusers, read_settings, read_tensors

DECODER = "decoder"
"""What the first word of a name ends with that belongs to stage II alone; the release drops these as well."""
FROZEN_ENCODERS = ("language_goal.", "TVP_encoder.")
"""CLIP, which the action model's file repeats."""


@dataclass(frozen=True)
class ReleaseFiles:
    """Where the published weights lie; whatever is None is left as it is."""

    video: Path | None = None
    """A folder with ``unet`` (Wan: ``transformer``) and ``vae``."""
    idms: Mapping[str, Path] = field(default_factory=dict)
    """By member: flow, depth, semantic."""
    policy: Path | None = None


def action_model_plan(config: MolaConfig) -> Plan:
    """The file of stage III: tokens, mixture, video former and head.

    Raises:
        ImportRefusedError: ``config`` is not of the release's kind.
    """
    mixture, head, visual = config.mixture, config.head, config.visual
    if (
        mixture is None
        or not isinstance(mixture.tokens, FeatureTokensConfig)
        or not isinstance(head, EdmHeadConfig)
        or not isinstance(visual, VideoFormerConfig)
        or config.backbone is None
        or config.state_size
        or head.dit.words
        or visual.positions
    ):
        raise ImportRefusedError("the published action model fits the recipe full.release alone")
    num_visual = config.backbone.num_frames * visual.queries_per_frame
    context = 1 + num_visual + len(mixture.members) * mixture.idm.num_queries
    plan = video_former_plan(visual).within(source="Video_Former.", target="visual.")
    plan = plan.joined(tokens_plan().within(source="", target="tokens."))
    dit = head_plan(head.dit, horizon=config.horizon, context=context)
    plan = plan.joined(dit.within(source="model.inner_model.", target="head.transformer."))
    for member in mixture.members:
        source = f"latent_{member.name}_motion_tokenizer."
        plan = plan.joined(idm_plan(mixture.idm).within(source=source, target=f"mixture.members.{member.name}."))
    return Plan(entries=plan.entries, dropped=plan.dropped + FROZEN_ENCODERS)


def imported(files: ReleaseFiles, config: MolaConfig, *, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """All that ``files`` give, under the names of a model of ``config``; ``shapes`` are that model's.

    Raises:
        ImportRefusedError: names the file and the tensor that does not fit.
    """
    weights: dict[str, Tensor] = {}
    if files.video is not None:
        weights |= _video(files.video, config, shapes=shapes)
    for name, path in files.idms.items():
        weights |= _idm(name, path, config, shapes=shapes)
    if files.policy is not None:
        plan = action_model_plan(config)
        weights |= translated(read_tensors(files.policy), plan, shapes=shapes, where=str(files.policy))
    if not weights:
        raise ImportRefusedError("nothing to import: name the video model, inverse dynamics models or the action model")
    return weights


def _video(folder: Path, config: MolaConfig, *, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    if isinstance(config.backbone, SvdConfig):
        parts: tuple[str, ...] = ("unet", "vae")
        weights: dict[str, Tensor] = {}
    elif isinstance(config.backbone, WanConfig):
        parts = ("transformer", "vae")
        weights = _wan_statistics(folder / "vae" / "config.json")
    else:
        raise ImportRefusedError("only Stable Video Diffusion and Wan are published; choose full.release or full.wan")
    for part in parts:
        target = f"backbone.{part}."
        names = [name.removeprefix(target) for name in shapes if name.startswith(target)]
        plan = Plan(entries={target + name: Taken(name) for name in names})
        weights |= translated(read_diffusers(folder / part), plan, shapes=shapes, where=str(folder / part))
    return weights


def _wan_statistics(settings: Path) -> dict[str, Tensor]:
    """Mean and deviation of Wan's latents, which stand in the settings of its autoencoder."""
    said = read_settings(settings)
    try:
        mean, std = (torch.tensor(said[name], dtype=torch.float32) for name in ("latents_mean", "latents_std"))
    except (KeyError, TypeError, ValueError) as error:
        raise ImportRefusedError(
            f"{settings} has no latents_mean and latents_std; it is not of Wan's autoencoder"
        ) from error
    return {"backbone.latent_mean": mean, "backbone.latent_std": std}


def _idm(name: str, path: Path, config: MolaConfig, *, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    members = () if config.mixture is None else tuple(member.name for member in config.mixture.members)
    if config.mixture is None or name not in members:
        raise ImportRefusedError(f"there is no inverse dynamics model {name!r}; choose from {', '.join(members)}")
    plan = idm_plan(config.mixture.idm).within(source="", target=f"mixture.members.{name}.")
    weights = read_tensors(path)
    kept = {key: value for key, value in weights.items() if not key.partition(".")[0].endswith(DECODER)}
    return translated(kept, plan, shapes=shapes, where=str(path))
