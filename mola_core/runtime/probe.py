"""Tries a bundle in a process of its own, so that an engine that crashes takes nothing with it.

``python -m mola_core.runtime.probe SITE ROOT BUNDLE_ID`` prints one JSON object and exits with 0, whatever it found;
a process that dies instead has answered as well.
"""

import json
import resource
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from mola_core.contracts.bundle import BundleError
from mola_core.contracts.errors import MolaError
from mola_core.contracts.site import load_site

_RUNS = 5


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What became of a bundle that was loaded, self-tested and run on its golden inputs."""

    problem: str
    """Empty: it is sound."""
    peak_bytes: int = 0
    """Largest resident memory of the probing process, interpreter included."""
    run_ms: float = -1.0
    """Fastest of a few passes through all engines on the control path: what they need, not what the machine's other work adds."""


def probe_bundle(*, site: Path, root: Path, bundle_id: str, timeout_s: float) -> ProbeReport:
    """Try the bundle in a child process, at low priority.

    Raises:
        BundleError: it does not load, fails its self-test, crashes, or does not finish in time.
    """
    command = ["nice", "-n", "10", sys.executable, "-m", __name__, str(site), str(root), bundle_id]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise BundleError(f"bundle {bundle_id} was not loaded and tested within {timeout_s:.0f} s") from error
    if result.returncode != 0:
        how = f"signal {-result.returncode}" if result.returncode < 0 else f"exit code {result.returncode}"
        last = next(iter(result.stderr.strip().splitlines()[-1:]), "it said nothing")
        raise BundleError(f"bundle {bundle_id} crashed while it was tried ({how}): {last}")
    last = next(iter(result.stdout.strip().splitlines()[-1:]), "nothing")
    try:
        report = ProbeReport(**json.loads(last))
    except (ValueError, TypeError) as error:
        raise BundleError(
            f"bundle {bundle_id} was tried, but instead of a report its process said: {last[:200]}"
        ) from error
    if report.problem:
        raise BundleError(report.problem)
    return report


def require_memory(report: ProbeReport, *, bundle_id: str, reserve_bytes: int) -> None:
    """Refuse to load what would not leave ``reserve_bytes`` of the host's memory.

    Raises:
        BundleError: with what is needed and what is left.
    """
    available = available_bytes()
    if report.peak_bytes + reserve_bytes > available:
        gib = 1 << 30
        raise BundleError(
            f"bundle {bundle_id} needs {report.peak_bytes / gib:.2f} GiB beside a reserve of {reserve_bytes / gib:.2f} GiB, "
            f"{available / gib:.2f} GiB are left; let go of what does not serve first: mola engine unload"
        )


def require_speed(report: ProbeReport, *, bundle_id: str, late_ms: float) -> None:
    """Refuse what would be taken out of service for being late.

    Raises:
        BundleError: with how long it takes.
    """
    if report.run_ms > late_ms:
        raise BundleError(
            f"bundle {bundle_id} takes {report.run_ms:.0f} ms for a decision on this machine, more than {late_ms:.0f} ms"
        )


def available_bytes() -> int:
    """What the kernel says could be allocated without swapping."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) * 1024
    raise MolaError("/proc/meminfo does not say MemAvailable")


def _probe(site: Path, root: Path, bundle_id: str) -> ProbeReport:
    from mola_core.contracts.bundle import BundledLanguageRecord  # noqa: PLC0415
    from mola_core.runtime.bundle_language import language_of  # noqa: PLC0415
    from mola_core.runtime.bundle_policy import golden_path, load_stage  # noqa: PLC0415  # load the runtimes
    from mola_core.runtime.golden import read_golden  # noqa: PLC0415
    from mola_core.runtime.halves import BundleShelf  # noqa: PLC0415
    from mola_core.runtime.pass_times import pass_times_ms  # noqa: PLC0415
    from mola_core.runtime.stages import STAGES  # noqa: PLC0415

    run_ms = 0.0
    try:
        bundle = BundleShelf(root, site=load_site(site)).open(bundle_id)
        if isinstance(bundle.manifest.language, BundledLanguageRecord):
            language_of(bundle.path, bundle.manifest, self_test=bundle.options.self_test)
        for stage in (stage for stage in STAGES if stage in bundle.build.files):
            with load_stage(bundle, stage) as engine:
                inputs = read_golden(bundle.path / golden_path(stage)).inputs
                fastest_ms = min(pass_times_ms(engine, inputs, runs=_RUNS))
                run_ms += fastest_ms if stage != "preview" else 0.0
    except MolaError as error:
        return ProbeReport(problem=str(error))
    return ProbeReport(problem="", peak_bytes=_peak_bytes(), run_ms=run_ms)


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> int:
    """Probe what the arguments name."""
    site, root, bundle_id = sys.argv[1:]
    print(json.dumps(asdict(_probe(Path(site), Path(root), bundle_id))))  # noqa: T201  # the answer
    return 0


if __name__ == "__main__":
    sys.exit(main())
