"""What ``/diagnostics`` tells dashboards: one status per concern, figures as text."""

from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from mola_core.runtime.slot import SlotReport
from mola_drivers.gripper.protocol import GripperState
from mola_nodes.conversions.wire import time_from_ns
from mola_nodes.policy.tally import RunFigures

OK, WARN, ERROR, STALE = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR, DiagnosticStatus.STALE


def diagnostic_status(
    *, name: str, level: bytes, message: str, values: Mapping[str, object], hardware_id: str = ""
) -> DiagnosticStatus:
    """One concern; ``values`` carry their unit in the key."""
    return DiagnosticStatus(
        name=name,
        level=level,
        message=message,
        hardware_id=hardware_id,
        values=[KeyValue(key=key, value=_text(value)) for key, value in values.items()],
    )


def gripper_diagnostic(state: GripperState) -> DiagnosticStatus:
    """The gripper's health for dashboards."""
    return diagnostic_status(
        name="controller: gripper",
        level=OK if state.fault is None else ERROR,
        message="well" if state.fault is None else str(state.fault),
        values={
            "opening (0..1)": "unknown" if state.opening is None else state.opening,
            "moving": state.moving,
            "blocked": state.blocked,
        },
    )


def inputs_diagnostic(missing: str, *, busy: bool) -> DiagnosticStatus:
    """Whether a policy sees everything; ``missing`` names what it does not."""
    return diagnostic_status(
        name="policy: inputs",
        level=WARN if missing else OK,
        message=missing or "all inputs arrive",
        values={"executing a goal": busy},
    )


def half_diagnostic(half: str, report: SlotReport, figures: RunFigures) -> DiagnosticStatus:
    """Which bundle one half of the policy serves, and how fast."""
    leaked = [f"{name} could not be closed: restart this process to have its memory back" for name in report.leaked]
    problems = "; ".join([*(f"{name}: {reason}" for name, reason in report.failed.items()), *leaked])
    return diagnostic_status(
        name=f"policy: {half}",
        level=WARN if problems or not report.serving else OK,
        message=problems or (f"serves {report.serving}" if report.serving else "no bundle is in service"),
        values={
            "loaded": ", ".join(report.ready) or "none",
            "not closed": len(report.leaked),
            "runs": figures.runs,
            "run p50 [ms]": figures.p50_ms,
            "run p99 [ms]": figures.p99_ms,
            "last swap gap [ms]": figures.swap_gap_ms,
        },
    )


def diagnostic_array(*statuses: DiagnosticStatus, stamp_ns: int) -> DiagnosticArray:
    """The message for ``/diagnostics``."""
    message = DiagnosticArray(status=list(statuses))
    message.header.stamp = time_from_ns(stamp_ns)
    return message


def _text(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
