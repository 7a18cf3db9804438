"""``mola twin render``: a picture of how an episode starts, both views side by side."""

import argparse
import os
from pathlib import Path
from typing import Any


def register_render(subparsers: Any) -> None:
    """Add ``render``."""
    parser = subparsers.add_parser("render", help="a picture of an episode's start, both views")
    parser.add_argument("--task", default="stack_blocks", help="the task (stack_blocks)")
    parser.add_argument("--seed", type=int, default=0, help="the start (0)")
    parser.add_argument("--variant", default="id", help="id, distractors, lighting, camera, phrasing or colour (id)")
    parser.add_argument("--width", type=int, default=424, help="pixels of one view (424)")
    parser.add_argument("--height", type=int, default=240, help="pixels (240)")
    parser.add_argument("--depth", action="store_true", help="a second row with the depth, near is bright")
    parser.add_argument("--out", type=Path, required=True, help="PNG file to write")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    import numpy as np  # noqa: PLC0415  # help stays fast

    os.environ.setdefault("MUJOCO_GL", "egl")
    from mola_twin.cell import layout, optics  # noqa: PLC0415
    from mola_twin.cell.physics import PhysicsCell  # noqa: PLC0415
    from mola_twin.cell.png import write_png  # noqa: PLC0415
    from mola_twin.cell.renderer import CellRenderer  # noqa: PLC0415
    from mola_twin.tasks.start import sample_start  # noqa: PLC0415

    cell = PhysicsCell()
    start = sample_start(task=arguments.task, seed=arguments.seed, variant=arguments.variant)
    cell.reset(start)
    colors, depths = [], []
    with CellRenderer(cell.model, width=arguments.width, height=arguments.height) as renderer:
        for camera, model in layout.CAMERA_MODELS.items():
            view = optics.intrinsics(model=model, width=arguments.width, height=arguments.height)
            color, depth = renderer.render(cell.model, cell.data, camera=camera, intrinsics=view, depth=True)
            colors.append(color)
            assert depth is not None  # noqa: S101  # asked for
            nearness = np.clip(0.15 / depth, 0.0, 1.0) * 255.0
            depths.append(np.repeat(nearness.astype(np.uint8)[..., None], 3, axis=-1))
    rows = [np.hstack(colors), *([np.hstack(depths)] if arguments.depth else [])]
    write_png(arguments.out, np.vstack(rows))
    print(f"{arguments.out}: {start.instruction!r}")  # noqa: T201
    return 0
