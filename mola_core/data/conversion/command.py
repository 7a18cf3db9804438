"""``mola dataset convert | check | info``."""

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mola_core.contracts.errors import ConfigError

if TYPE_CHECKING:
    from mola_core.data.conversion.convert import Conversion, ConversionOptions
    from mola_core.data.conversion.summary import Summary

_MIB = 1024 * 1024
_PROBLEMS_SHOWN = 50


def register_convert(subparsers: Any) -> None:
    """Add ``convert``."""
    parser = subparsers.add_parser("convert", help="recorded episodes into a LeRobot v3 dataset")
    parser.add_argument("episodes", type=Path, nargs="+", help="folders of episodes, or folders that hold them")
    parser.add_argument("--out", type=Path, required=True, help="where the dataset will be")
    parser.add_argument(
        "--outcome",
        action="append",
        choices=("success", "failure", "unknown"),
        help="take episodes of this outcome; may be repeated (success)",
    )
    parser.add_argument("--size", help="WIDTHxHEIGHT that pictures are cropped and shrunk to (as recorded)")
    parser.add_argument("--frame-age-ms", type=float, default=100.0, help="oldest frame that a row may show (100)")
    parser.add_argument("--keep-idle", action="store_true", help="keep the time before and after the motion")
    parser.add_argument("--split", action="store_true", help="make several episodes of one that has gaps")
    parser.add_argument("--append", action="store_true", help="add to the dataset that is there")
    parser.add_argument("--resume", action="store_true", help="continue a conversion that died")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.set_defaults(run=_convert)


def _convert(arguments: argparse.Namespace) -> int:
    from mola_core.data.conversion.convert import convert, find_episodes, unfinished  # noqa: PLC0415  # help stays fast

    options = _options(arguments)
    done = convert(find_episodes(arguments.episodes), arguments.out, options=options, progress=_say)
    left_out = done.left_out | unfinished(arguments.episodes)
    if arguments.json:
        _print_json({"dataset": arguments.out, "rows": done.rows, "written": done.written, "left_out": left_out})
    else:
        _print_conversion(arguments.out, done, left_out)
    return 0


def _options(arguments: argparse.Namespace) -> "ConversionOptions":
    from mola_core.contracts.clock import NS_PER_MS  # noqa: PLC0415  # help stays fast
    from mola_core.contracts.resample import ResampleLimits  # noqa: PLC0415
    from mola_core.data.conversion.convert import ConversionOptions  # noqa: PLC0415
    from mola_core.data.episodes.meta import Outcome  # noqa: PLC0415

    if not 1.0 <= arguments.frame_age_ms <= 10_000.0:
        raise ConfigError(f"--frame-age-ms {arguments.frame_age_ms} is outside 1..10000")
    return ConversionOptions(
        outcomes=frozenset(Outcome(name) for name in arguments.outcome or ("success",)),
        limits=ResampleLimits(frame_age_ns=round(arguments.frame_age_ms * NS_PER_MS)),
        size=None if arguments.size is None else _size(arguments.size),
        keep_idle=arguments.keep_idle,
        split=arguments.split,
        resume=arguments.resume,
        append=arguments.append,
    )


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{2,4})x(\d{2,4})", text)
    if match is None:
        raise ConfigError(f"--size {text!r} is not WIDTHxHEIGHT in pixels, e.g. 128x128")
    return int(match[1]), int(match[2])


def _print_conversion(path: Path, done: "Conversion", left_out: dict[str, str]) -> None:
    episodes = len(done.dataset.episodes)
    print(f"{path}: {episodes} episodes, {done.rows} rows, contract {done.dataset.contract.hash}")  # noqa: T201
    for name, why in left_out.items():
        print(f"left out {name}: {why}")  # noqa: T201


def register_check(subparsers: Any) -> None:
    """Add ``check``."""
    parser = subparsers.add_parser("check", help="whether a dataset is what it says: numbers, frames, stamps")
    parser.add_argument("dataset", type=Path, help="folder of the dataset")
    parser.add_argument("--fast", action="store_true", help="count frames without decoding them")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.set_defaults(run=_check)


def _check(arguments: argparse.Namespace) -> int:
    from mola_core.data.conversion.check import check  # noqa: PLC0415  # help stays fast

    checked = check(arguments.dataset, decode=not arguments.fast, progress=_say)
    if arguments.json:
        _print_json(checked)
    else:
        for problem in checked.problems[:_PROBLEMS_SHOWN]:
            print(problem)  # noqa: T201
        if (more := len(checked.problems) - _PROBLEMS_SHOWN) > 0:
            print(f"and {more} more")  # noqa: T201
        print(  # noqa: T201
            f"{arguments.dataset}: {checked.episodes} episodes, {checked.rows} rows, {checked.frames} frames "
            f"{'counted' if arguments.fast else 'decoded'}, frames at most {checked.largest_frame_age_ms:.0f} ms behind their rows: "
            f"{len(checked.problems) or 'no'} problem{'' if len(checked.problems) == 1 else 's'}"
        )
    return 1 if checked.problems else 0


def register_info(subparsers: Any) -> None:
    """Add ``info``."""
    parser = subparsers.add_parser("info", help="what a dataset holds: episodes, instructions, hours, cameras, sizes")
    parser.add_argument("dataset", type=Path, help="folder of the dataset")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.set_defaults(run=_info)


def _info(arguments: argparse.Namespace) -> int:
    from mola_core.data.conversion.summary import summarise  # noqa: PLC0415  # help stays fast
    from mola_core.data.lerobot.reader import LeRobotReader  # noqa: PLC0415

    summary = summarise(LeRobotReader(arguments.dataset))
    if arguments.json:
        _print_json(summary)
    else:
        _print_summary(summary)
    return 0


def _print_summary(summary: "Summary") -> None:
    from rich.console import Console  # noqa: PLC0415  # help stays fast
    from rich.table import Table  # noqa: PLC0415

    table = Table(title=summary.path, show_header=False)
    cameras = ", ".join(f"{name} {width} x {height}" for name, (width, height) in summary.cameras.items())
    table.add_row("contract", summary.contract_hash)
    table.add_row(
        "episodes", f"{summary.episodes} ({', '.join(f'{n} {name}' for name, n in summary.outcomes.items())})"
    )
    table.add_row("rows", f"{summary.rows} at {summary.fps} /s, {_duration(summary.hours)}")
    table.add_row("cameras", cameras)
    table.add_row("intervention rows", str(summary.intervention_rows))
    table.add_row("size", f"data {summary.data_bytes / _MIB:.1f} MiB, videos {summary.video_bytes / _MIB:.1f} MiB")
    for instruction, count in summary.instructions.items():
        table.add_row(f"{count} x", instruction)
    Console().print(table)


def _duration(hours: float) -> str:
    if hours >= 1:
        return f"{hours:.1f} h"
    return f"{60 * hours:.1f} min" if 60 * hours >= 1 else f"{3600 * hours:.1f} s"


def _say(line: str) -> None:
    """Progress, on one line of a terminal; into a file it would only be noise."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{line}\r")
        sys.stderr.flush()


def _print_json(document: Any) -> None:
    import json  # noqa: PLC0415  # help stays fast

    from mola_core.cli.report import to_jsonable  # noqa: PLC0415

    print(json.dumps(to_jsonable(document), indent=2, allow_nan=False))  # noqa: T201
