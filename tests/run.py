"""Everything that must hold before a change is taken: style, types, rings, tests. One line a step, details where one fails.

``make test`` runs it in the project's environment with ``--fast``, which leaves the slow tests out, ``make test-all`` without;
other arguments go to pytest.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
NUM_DOMAINS = 101

STATIC_CHECKS: Mapping[str, Sequence[str]] = {
    "style": ("ruff", "check", "--quiet", "."),
    "format": ("ruff", "format", "--check", "--quiet", "."),
    "types": ("mypy",),
    "rings": ("lint-imports", "--no-cache"),
}


def main() -> int:
    """Exit status 0 when all checks pass."""
    parser = argparse.ArgumentParser(prog="make test", description=__doc__)
    parser.add_argument("--fast", action="store_true", help="without the tests marked slow")
    arguments, for_pytest = parser.parse_known_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mola-test-") as scratch:
        environment = test_environment(Path(scratch))
        failed = [name for name, words in STATIC_CHECKS.items() if not _quiet(name, words, environment)]
        if not _pytest(fast=arguments.fast, extra=for_pytest, environment=environment):
            failed.append("tests")
    verdict = f"failed: {', '.join(failed)}" if failed else "all green"
    print(f"{verdict}, {time.monotonic() - start:.0f} s", flush=True)
    return 1 if failed else 0


def test_environment(scratch: Path) -> dict[str, str]:
    """Tests must not disturb each other, a robot on the network, or the machine."""
    return os.environ | {
        "HOME": os.environ.get("HOME", str(scratch)),
        "PATH": os.pathsep.join([str(Path(sys.prefix) / "bin"), os.environ.get("PATH", os.defpath)]),
        "ROS_DOMAIN_ID": str(free_domain(start=os.getpid())),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_LOG_DIR": str(scratch / "ros"),
        # off by default in rclpy, which then sends what lies beyond a short array
        "ROS_PYTHON_CHECK_FIELDS": "1",
        "MUJOCO_GL": "egl",
        # idle OpenMP threads otherwise spin on the cores that the servo loop needs
        "GOMP_SPINCOUNT": "0",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def free_domain(*, start: int) -> int:
    """A ROS domain in 1..101 that nobody on this machine takes part in, tried from ``start`` on."""
    for offset in range(NUM_DOMAINS):
        domain = 1 + (start + offset) % NUM_DOMAINS
        if _is_free(domain):
            return domain
    raise RuntimeError("all ROS domains of this machine are in use")


def _is_free(domain: int) -> bool:
    """Whether the first participant's unicast discovery port (DDS-RTPS 9.6.1.1) can be bound."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("", 7400 + 250 * domain + 10))
        except OSError:
            return False
    return True


def _quiet(name: str, words: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Run one static check; its output is shown only where it fails."""
    start = time.monotonic()
    result = subprocess.run(words, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    passed = result.returncode == 0
    print(f"{name:<8} {'ok' if passed else 'FAILED'}  {time.monotonic() - start:.0f} s", flush=True)
    if not passed:
        print(result.stdout + result.stderr, flush=True)
    return passed


def _pytest(*, fast: bool, extra: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Run the tests. What fails is run once more by itself: the tests that play a rig in real time need the processor, and a
    machine shared with others does not always give it. A failure that goes away is printed all the same, as unstable.
    """
    expression = "not hardware and not slow" if fast else "not hardware"
    words = ["pytest", "-m", expression, *extra]

    def run(*options: str) -> int:
        return subprocess.run([*words, *options], cwd=REPOSITORY, env=environment, check=False).returncode

    status = run()
    if status != pytest.ExitCode.TESTS_FAILED:
        return status == pytest.ExitCode.OK
    print("unstable or broken: what failed runs once more", flush=True)
    return run("--last-failed", "--last-failed-no-failures=none") == pytest.ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
