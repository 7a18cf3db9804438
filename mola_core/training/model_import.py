"""``mola model import``: the weights published with the paper, as a checkpoint that training goes on from.

It cannot act by itself: the published policy's actions are those of its benchmarks, not of this project's contract. Stage III on
demonstrations under a contract of one's own (``mola train stage3 --from``) makes them one.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mola_core.cli.report import git_state
from mola_core.contracts.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from mola_core.nets.mola import Mola

_RECIPE = "full.release"
_SHOWN = 3


def register(subparsers: Any) -> None:
    """Add ``import``."""
    parser = subparsers.add_parser(
        "import", help="the weights published with the paper, as a checkpoint to train on from"
    )
    add = parser.add_argument
    add("--video", type=Path, metavar="FOLDER", help="the video model: a folder with unet and vae")
    add("--idm", action="append", default=[], metavar="NAME=FILE", help="of stage II: flow, depth or semantic")
    add("--policy", type=Path, metavar="FILE", help="the action model of stage III, which has its own idms")
    add("--recipe", default=_RECIPE, help=f"what it is imported for ({_RECIPE})")
    add("--out", type=Path, required=True, metavar="FOLDER", help="the checkpoint to write")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from rich.console import Console  # noqa: PLC0415  # help stays fast
    from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: PLC0415

    from mola_core.nets.importing.release import ReleaseFiles, imported  # noqa: PLC0415
    from mola_core.nets.mola import build_mola  # noqa: PLC0415
    from mola_core.training.checkpoint import MODEL_PREFIX, Checkpoint, save_checkpoint  # noqa: PLC0415
    from mola_core.training.recipes import recipe_named  # noqa: PLC0415
    from mola_core.training.stage_order import stage_after  # noqa: PLC0415

    if arguments.out.exists():
        raise ConfigError(f"--out {arguments.out} exists; name a new folder")
    recipe = recipe_named(arguments.recipe)
    files = ReleaseFiles(video=arguments.video, idms=_idms(arguments.idm), policy=arguments.policy)
    with FakeTensorMode():
        model = build_mola(recipe.model)
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    weights = imported(files, recipe.model, shapes=shapes)
    stage = _stage(weights, model)
    if stage == "idm":
        weights |= _fresh_tokens(model)
    # of the sentence encoder nothing is published but its name: its digest stays unknown
    checkpoint = Checkpoint(
        path=arguments.out, recipe=recipe, normalization=None, stage=stage, step=0, metrics={}, git=git_state()
    )
    save_checkpoint(checkpoint, weights={MODEL_PREFIX + name: value for name, value in weights.items()})
    numbers = sum(value.numel() for value in weights.values())
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"{arguments.out}: {len(weights)} tensors, {numbers / 1e6:.2f} M numbers, as of stage {stage}")
    following = stage_after(stage, recipe)
    console.print(f"next: mola train {following} --recipe {arguments.recipe} --from {arguments.out} --data …")
    return 0


def _idms(given: list[str]) -> dict[str, Path]:
    """``flow=FILE`` and so on."""
    places: dict[str, Path] = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not equals or not path:
            raise ConfigError(f"--idm is written NAME=FILE, got {text!r}")
        places[name] = Path(path)
    return places


def _stage(weights: "Mapping[str, Tensor]", model: "Mola") -> str:
    """The last stage whose work is all there.

    Raises:
        ConfigError: what is there belongs together with something that is not.
    """
    wanted = set(model.state_dict())
    backbone = {name for name in wanted if name.startswith("backbone.")}
    mixture = {name for name in wanted if name.startswith("mixture.")}
    complete = {"policy": wanted, "idm": backbone | mixture, "video": backbone}
    for stage, names in complete.items():
        if weights.keys() == names:
            return stage
    lacking = sorted({name.partition(".")[0] if name in backbone else ".".join(name.split(".")[:3]) for name in (
        (wanted if any(name.startswith("head.") for name in weights) else backbone | mixture) - weights.keys())})  # fmt: skip
    raise ConfigError(
        f"a checkpoint cannot be made without {', '.join(lacking[:_SHOWN])}; give --video, and with it all of --idm or --policy"
    )


def _fresh_tokens(model: "Mola") -> "dict[str, Tensor]":
    """The projection of features before the models of stage II, which the release trains in stage III only."""
    import torch  # noqa: PLC0415

    from mola_core.nets.config import FeatureTokensConfig  # noqa: PLC0415
    from mola_core.nets.tokens import FeatureTokens  # noqa: PLC0415

    mixture = model.config.mixture
    if model.backbone is None or mixture is None or not isinstance(mixture.tokens, FeatureTokensConfig):
        raise ConfigError(
            "the published models of stage II go with tokens from features; choose the recipe full.release"
        )
    torch.manual_seed(0)
    tokens = FeatureTokens(mixture.tokens, feature_shape=model.backbone.feature_shape)
    return {f"tokens.{name}": value for name, value in tokens.state_dict().items()}
