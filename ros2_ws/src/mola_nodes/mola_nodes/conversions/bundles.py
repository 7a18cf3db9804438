"""What the nodes of the policy and their bundle manager say to each other."""

from mola_interfaces.msg import BundleWish, HalfStatus

from mola_core.runtime.slot import SlotReport, Wanted
from mola_nodes.conversions.wire import check_length, check_version, time_from_ns
from mola_nodes.policy.tally import RunFigures


def wish_message(wanted: Wanted, *, stamp_ns: int) -> BundleWish:
    """What the bundle manager wants."""
    return BundleWish(
        version=BundleWish.VERSION,
        stamp=time_from_ns(stamp_ns),
        revision=wanted.revision,
        active=wanted.active,
        staged=wanted.staged,
        previous=wanted.previous,
    )


def wanted_from_message(message: BundleWish) -> Wanted:
    """The wish.

    Raises:
        MessageError: another version.
    """
    check_version(message)
    return Wanted(revision=message.revision, active=message.active, staged=message.staged, previous=message.previous)


def half_status_message(
    half: str, report: SlotReport, *, figures: RunFigures, shadow: tuple[int, float], stamp_ns: int
) -> HalfStatus:
    """Where a half is; ``shadow`` is the number of answers compared and the mean distance of the plans, mm."""
    shadow_runs, distance_mm = shadow
    return HalfStatus(
        version=HalfStatus.VERSION,
        stamp=time_from_ns(stamp_ns),
        half=half,
        revision=report.revision,
        serving=report.serving,
        ready=list(report.ready),
        failed=list(report.failed),
        reasons=list(report.failed.values()),
        runs=figures.runs,
        run_p50_ms=figures.p50_ms,
        run_p99_ms=figures.p99_ms,
        run_max_ms=figures.max_ms,
        shadow_runs=shadow_runs,
        shadow_distance_mm=distance_mm,
        swap_gap_ms=figures.swap_gap_ms,
    )


def report_from_message(message: HalfStatus) -> SlotReport:
    """Where a half is.

    Raises:
        MessageError: another version, or reasons that do not match what failed.
    """
    check_version(message, sender=f"the half {message.half!r}")
    check_length(name="reasons", values=message.reasons, length=len(message.failed))
    return SlotReport(
        revision=message.revision,
        serving=message.serving,
        ready=tuple(message.ready),
        failed=dict(zip(message.failed, message.reasons, strict=True)),
    )
