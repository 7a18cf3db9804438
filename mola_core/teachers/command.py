"""``mola data label``: what a teacher says of a dataset's pictures, stored beside it."""

import argparse
import sys
from pathlib import Path
from typing import Any

from mola_core.contracts.errors import ConfigError


def register(subparsers: Any) -> None:
    """Add ``label``."""
    parser = subparsers.add_parser("label", help="depth, meaning or motion of a dataset's pictures, by a teacher")
    parser.add_argument("dataset", type=Path, help="the dataset; labels go to DATASET/labels/TEACHER")
    parser.add_argument(
        "--teacher", required=True, help="depth_anything_v2, sam2, cotracker3, or twin for generated data"
    )
    parser.add_argument("--weights", help="folder, file or name of a picture model's weights")
    parser.add_argument("--view", metavar="WxH", help="size of the views that models see (that of the dataset)")
    parser.add_argument(
        "--stride", type=int, default=2, help="pixels of the view for each cell of a label, each way (2)"
    )
    parser.add_argument("--offsets", default="", help="rows over which cotracker3 labels motion, with commas between")
    parser.add_argument("--device", default="cpu", help="where a picture model runs: cpu, cuda, cuda:1 (cpu)")
    parser.add_argument("--batch", type=int, default=8, help="frames at once (8)")
    parser.add_argument(
        "--part", default="0/1", metavar="I/N", help="label every N-th episode from I on, to share the work (0/1)"
    )
    parser.add_argument(
        "--skip-bad", action="store_true", help="leave out bad files of datasets that are not ours, as mola train does"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from mola_core.cli.progress import Progress  # noqa: PLC0415  # help stays fast
    from mola_core.data.labels.store import LabelFolder  # noqa: PLC0415
    from mola_core.data.opening import open_episodes  # noqa: PLC0415
    from mola_core.teachers.labelling import episodes_left, label_dataset  # noqa: PLC0415
    from mola_core.teachers.protocol import TeacherSettings, open_teacher  # noqa: PLC0415

    part = _part(arguments.part)
    offsets = _numbers(arguments.offsets)
    source = open_episodes(arguments.dataset, skip_bad=arguments.skip_bad)
    cameras = source.contract.cameras
    view = _size(arguments.view) if arguments.view else _stored_size(source, cameras[0])
    if arguments.batch < 1 or arguments.stride < 1 or view[0] % arguments.stride or view[1] % arguments.stride:
        raise ConfigError(
            f"--stride {arguments.stride} must divide the view of {view[0]}x{view[1]}, and --batch {arguments.batch} be 1 or more"
        )
    settings = TeacherSettings(
        dataset=arguments.dataset,
        cameras=cameras,
        view=view,
        stride=arguments.stride,
        weights=arguments.weights,
        device=arguments.device,
        batch=arguments.batch,
        flow_offsets=offsets,
    )
    teacher = open_teacher(arguments.teacher, settings)
    left = len(episodes_left(source, LabelFolder(arguments.dataset, teacher=teacher.name), part))
    total = len(range(part.number, len(source.episodes), part.count))
    bar = Progress(f"{teacher.name} labels {arguments.dataset.name}", total=total, done=total - left)
    done = label_dataset(source, teacher, view=view, part=part, progress=lambda _episode: bar.advance())
    _report(arguments, labelled=done, before=total - left)
    return 0


def _report(arguments: argparse.Namespace, *, labelled: int, before: int) -> None:
    if arguments.json:
        from mola_core.cli.report import measurement_report, print_json  # noqa: PLC0415  # help stays fast

        figures = {"dataset": arguments.dataset, "teacher": arguments.teacher, "labelled": labelled, "before": before}
        print_json(measurement_report("data label", figures))
    else:
        sys.stdout.write(
            f"{arguments.dataset}: {labelled} episodes labelled by {arguments.teacher}, {before} were before\n"
        )


def _stored_size(source: Any, camera: str) -> tuple[int, int]:
    height, width = source.frames(0, camera, [0]).shape[1:3]
    return int(width), int(height)


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(part) for part in text.split("x"))
    except ValueError:
        raise ConfigError(f"--view {text!r} is no size; write it as 160x96") from None
    return width, height


def _part(text: str) -> Any:
    from mola_core.teachers.labelling import Part  # noqa: PLC0415  # help stays fast

    try:
        number, count = (int(part) for part in text.split("/"))
    except ValueError:
        raise ConfigError(f"--part {text!r} is none; write it as 0/4") from None
    return Part(number, count)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise ConfigError(f"--offsets {text!r} are no numbers; write them as 4,8") from None
    if any(number < 1 for number in numbers):
        raise ConfigError(f"--offsets {text!r} must be 1 or more")
    return numbers
