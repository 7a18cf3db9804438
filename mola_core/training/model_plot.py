"""``mola model plot``: figures of a trained model."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mola_core.contracts.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mola_core.training.checkpoint import Checkpoint
    from mola_core.training.plots import Gallery


def register(subparsers: Any) -> None:
    """Add ``plot``."""
    parser = subparsers.add_parser("plot", help="imagination, reconstructions, attention and code usage as figures")
    parser.add_argument("checkpoint", type=Path, help="folder that mola train wrote: RUN/policy/final, for instance")
    parser.add_argument("--data", type=Path, required=True, help="a dataset; its held-out episodes are shown")
    parser.add_argument("--out", type=Path, help="folder of the figures (plots, in the checkpoint's run)")
    parser.add_argument("--pretrained", type=Path, help="stage II's checkpoint, whose decoders draw (RUN/idm/final)")
    parser.add_argument("--number", type=int, default=4, help="samples shown (4)")
    parser.add_argument("--video-steps", type=int, default=1, help="denoising passes of the imagination (1)")
    parser.add_argument(
        "--language-weights", type=Path, metavar="FOLDER", help="of CLIP or UMT5, for recipes that use it"
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    import matplotlib as mpl  # noqa: PLC0415  # help stays fast
    import torch  # noqa: PLC0415

    mpl.use("Agg")
    if not 1 <= arguments.number <= 16:
        raise ConfigError(f"--number {arguments.number} is outside 1..16")
    if not 1 <= arguments.video_steps <= 100:
        raise ConfigError(f"--video-steps {arguments.video_steps} is outside 1..100")
    gallery = _gallery(arguments)
    run = arguments.checkpoint.resolve().parent.parent
    folder = arguments.out or run / "plots"
    folder.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        for name, draw in _figures(arguments, gallery, run=run).items():
            path = folder / f"{name}.png"
            draw().savefig(path, dpi=110)
            sys.stdout.write(f"{path}\n")
    return 0


def _gallery(arguments: argparse.Namespace) -> "Gallery":
    from mola_core.nets.mola import build_mola  # noqa: PLC0415
    from mola_core.training.checkpoint import load_checkpoint, model_weights, put_weights  # noqa: PLC0415
    from mola_core.training.datasets import open_parts  # noqa: PLC0415
    from mola_core.training.plots import Gallery  # noqa: PLC0415

    checkpoint = load_checkpoint(arguments.checkpoint)
    recipe = checkpoint.recipe
    model = build_mola(recipe.model)
    put_weights(model, model_weights(checkpoint), where=str(checkpoint.path))
    first = recipe.mixture[:1]
    (part,) = open_parts(first, recipe=recipe, data={first[0].dataset: arguments.data})
    return Gallery(
        model=model.eval(),
        checkpoint=checkpoint,
        part=part,
        number=arguments.number,
        language_weights=arguments.language_weights,
    )


def _figures(arguments: argparse.Namespace, gallery: "Gallery", *, run: Path) -> "dict[str, Callable[[], Figure]]":
    """Those that this checkpoint can show."""
    from mola_core.training import plots  # noqa: PLC0415

    figures: dict[str, Callable[[], Figure]] = {}
    stages = {
        stage: run / stage
        for stage in ("autoencoder", "video", "idm", "policy")
        if (run / stage / "metrics.jsonl").is_file()
    }
    if stages:
        figures["curves"] = lambda: plots.curves_figure(stages)
    if gallery.model.backbone is not None:
        figures["imagined"] = lambda: plots.imagined_figure(gallery, steps=arguments.video_steps)
    if gallery.checkpoint.stage in {"idm", "policy"} and gallery.model.mixture is not None:
        figures["attention"] = lambda: plots.attention_figure(gallery)
        if gallery.model.mixture.code_usage():
            figures["codes"] = lambda: plots.codes_figure(gallery.model)
        pretrained = _pretrained(arguments, gallery, run=run)
        if pretrained is not None:
            figures["reconstructions"] = lambda: plots.reconstructions_figure(gallery, pretrained)
    return figures


def _pretrained(arguments: argparse.Namespace, gallery: "Gallery", *, run: Path) -> "Checkpoint | None":
    from mola_core.training.checkpoint import load_checkpoint  # noqa: PLC0415

    if arguments.pretrained is not None:
        checkpoint = load_checkpoint(arguments.pretrained)
        if checkpoint.stage != "idm":
            raise ConfigError(
                f"--pretrained {arguments.pretrained} is from stage {checkpoint.stage}, decoders are in stage idm's"
            )
        return checkpoint
    if gallery.checkpoint.stage == "idm":
        return gallery.checkpoint
    there = run / "idm" / "final"
    return load_checkpoint(there) if (there / "checkpoint.json").is_file() else None
