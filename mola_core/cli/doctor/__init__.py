"""``mola doctor``: what this machine has, what it lacks, and what to do about it.

A package adds checks with an entry point of group ``mola.doctor``: a function that takes a
:class:`~mola_core.cli.doctor.finding.Context` and returns findings, quickly and without changing anything.
"""

import argparse
from pathlib import Path
from typing import Any


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("doctor", help="what this machine lacks for the twin or the rig, and the cure")
    parser.add_argument("--site", type=Path, help="a site file: is its arm reachable, are its cameras plugged in")
    parser.add_argument("--json", action="store_true", help="one document instead of the table")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from mola_core.cli.doctor.examination import examine  # noqa: PLC0415  # keeps `mola --help` fast

    return examine(site_path=arguments.site, as_json=arguments.json)
