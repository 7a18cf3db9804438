"""``mola model slim``: a trained checkpoint as small as it can be shipped: the model alone, in half precision.

It acts, is exported and goes on learning as before; what it lacks is the optimizer's state and whatever only training needed.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from mola_core.contracts.errors import ConfigError


def register(subparsers: Any) -> None:
    """Add ``slim``."""
    parser = subparsers.add_parser("slim", help="a checkpoint's model alone, in half precision, to ship")
    parser.add_argument("checkpoint", type=Path, help="folder that training wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="the checkpoint to write")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from rich.console import Console  # noqa: PLC0415  # help stays fast

    if arguments.out.exists():
        raise ConfigError(f"--out {arguments.out} exists; name a new folder")
    size = slim(arguments.checkpoint, arguments.out)
    Console().print(f"{arguments.out}: {size / 1e6:.1f} MB", soft_wrap=True, highlight=False)
    return 0


def slim(path: Path, out: Path) -> int:
    """Write the model of the checkpoint ``path`` to ``out``; bytes of its weights.

    Raises:
        CheckpointError: ``path`` is no checkpoint, or is damaged.
        ConfigError: a weight is too large for half precision.
    """
    import torch  # noqa: PLC0415  # takes seconds

    from mola_core.training.checkpoint import (  # noqa: PLC0415
        MODEL_PREFIX,
        load_checkpoint,
        read_weights,
        save_checkpoint,
    )

    checkpoint = load_checkpoint(path)
    halved = {}
    for name, value in read_weights(checkpoint).items():
        if not name.startswith(MODEL_PREFIX):
            continue
        halved[name] = value.half() if value.is_floating_point() else value
        if not bool(torch.isfinite(halved[name]).all()):
            raise ConfigError(f"{name} holds {float(value.abs().max()):g}, which half precision cannot hold")
    save_checkpoint(replace(checkpoint, path=out, digest=""), weights=halved)
    return sum(value.numel() * value.element_size() for value in halved.values())
