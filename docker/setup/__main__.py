"""Makes this machine and this clone ready: ``python3 docker/setup [--torch] [--python NAME]``. Safe to repeat, to interrupt.

Runs with any Python 3.10 or newer and the standard library alone; everything it makes lies in ``.venv``.
"""

import argparse
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import debian
import environment
import interpreters
import pytorch
import workspace
from environment import HERE, Layout
from steps import Progress, SetupError, Shell, Stamps, Step, digest, run_stale


def main() -> int:
    """Run what is not up to date; 0 when everything that was asked for is there."""
    parser = argparse.ArgumentParser(prog="make setup", description="Make this clone ready to run.")
    parser.add_argument("--python", help="a Python 3.11 or 3.12 to build with, instead of the first one found")
    parser.add_argument("--torch", action="store_true", help="torch as well, for training and export")
    parser.add_argument("--status", action="store_true", help="change nothing; print what is missing or stale as JSON")
    arguments = parser.parse_args()
    layout = Layout(HERE.parents[1])
    if arguments.status:
        print(json.dumps(_status(layout)))
        return 0
    start = time.monotonic()
    try:
        with _alone():
            count = _set_up(layout, wanted=arguments.python or None, torch=arguments.torch)
    except SetupError as error:
        print(f"set-up: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nset-up: interrupted; the next run repairs what is half done", file=sys.stderr)
        return 130
    if count:
        print(f"set-up: ready in {time.monotonic() - start:.0f} s")
    return 0


def _set_up(layout: Layout, *, wanted: str | None, torch: bool) -> int:
    variables = environment.clean_variables(layout)
    shell = Shell(log=layout.log, environment=variables)
    interpreter = _interpreter(layout, wanted=wanted, shell=shell)
    _install_packages([*debian.SYSTEM_NEEDS, *interpreter.needs()], shell=shell)
    stamps = Stamps(layout.venv / ".setup")
    count = run_stale(_steps(layout, interpreter=interpreter, shell=shell), stamps=stamps)
    if torch:
        try:
            count += run_stale([_torch_step(layout, shell=shell, variables=variables)], stamps=stamps)
        except SetupError as error:  # the rig, the twin and the tests do without
            print(f"set-up: note: {error}")
    return count


def _status(layout: Layout) -> dict[str, list[str]]:
    """Packages that the system lacks, and steps that the next set-up will run."""
    existing = environment.interpreter_of(layout)
    interpreter = interpreters.find(str(existing) if existing else None)
    companions = interpreter.needs() if interpreter else interpreters.absent_needs()
    stamps = Stamps(layout.venv / ".setup")
    shell = Shell(log=layout.log, environment={})
    steps = _steps(layout, interpreter=interpreter, shell=shell) if interpreter else []
    return {
        "missing": [need.package for need in debian.missing([*debian.SYSTEM_NEEDS, *companions])],
        "stale": [step.name for step in steps if not stamps.fresh(step)],
    }


def _install_packages(needs: Iterable[debian.Need], *, shell: Shell) -> None:
    absent = debian.missing(needs)
    if absent:
        with Progress("packages of the system: " + " ".join(need.package for need in absent)):
            debian.install(absent, shell=shell)


def _interpreter(layout: Layout, *, wanted: str | None, shell: Shell) -> interpreters.Interpreter:
    """The one asked for, else the one the environment already has, else the machine's, else one from apt."""
    existing = environment.interpreter_of(layout)
    found = interpreters.find(wanted or (str(existing) if existing else None)) or interpreters.find(wanted)
    if found is None and not wanted:
        _install_packages(interpreters.absent_needs(), shell=shell)
        found = interpreters.find()
    return environment.require(found, wanted=wanted)


def _steps(layout: Layout, *, interpreter: interpreters.Interpreter, shell: Shell) -> list[Step]:
    """In order; each rests on the ones before it."""
    wheels = digest(str(layout.venv), str(interpreter.path), environment.INSTALLERS, environment.REQUIREMENTS)

    def make_environment() -> None:
        environment.make(layout, interpreter=interpreter, shell=shell)
        environment.install_wheels(layout, shell=shell)

    def build_workspace() -> None:
        workspace.build(layout, shell=shell)
        workspace.link(layout)

    return [
        Step(
            name="environment",
            title=f"Python {interpreter.version} and pinned wheels, ROS 2 included",
            digest=digest(wheels, HERE / "environment.py"),
            run=make_environment,
        ),
        Step(
            name="core",
            title="mola_core and its command line",
            digest=digest(wheels, environment.project_tables(layout)),
            run=lambda: environment.install_core(layout, shell=shell),
        ),
        Step(
            name="workspace",
            title="ROS workspace",
            digest=digest(wheels, workspace.sources_digest(layout)),
            run=build_workspace,
        ),
    ]


def _torch_step(layout: Layout, *, shell: Shell, variables: Mapping[str, str]) -> Step:
    gpu = pytorch.has_gpu()
    return Step(
        name="torch",
        title=f"torch {pytorch.VERSION} for {'CUDA' if gpu else 'the CPU'}",
        digest=digest(HERE / "pytorch.py", pytorch.REQUIREMENTS, str(gpu)),
        run=lambda: pytorch.install(layout, gpu=gpu, shell=shell, variables=variables),
    )


@contextmanager
def _alone() -> Iterator[None]:
    """One set-up at a time in one clone; a second one waits."""
    descriptor = os.open(Path(__file__), os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("set-up: waiting for another one in this clone", flush=True)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
