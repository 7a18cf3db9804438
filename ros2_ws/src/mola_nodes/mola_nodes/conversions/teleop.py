"""What a teleoperation session says of itself, for the graph."""

from diagnostic_msgs.msg import DiagnosticStatus
from mola_interfaces.msg import TeleopStatus

from mola_core.control.teleop.session import TeleopView
from mola_nodes.conversions.wire import time_from_ns
from mola_nodes.diagnostics import ERROR, OK, WARN, diagnostic_status


def teleop_status_message(view: TeleopView, *, device: str) -> TeleopStatus:
    """Status for the wire."""
    return TeleopStatus(
        version=TeleopStatus.VERSION,
        stamp=time_from_ns(view.stamp_ns),
        device=device,
        alive=view.alive,
        enabled=view.enabled,
        engaged=view.engaged,
        takeover=view.takeover,
        reason=view.reason,
        frame=view.frame,
        speed_scale=float(view.speed_scale),
        speed_share=float(view.speed_share),
        has_gripper_opening=view.gripper_opening is not None,
        gripper_opening=0.0 if view.gripper_opening is None else float(view.gripper_opening),
    )


def teleop_diagnostic(view: TeleopView, *, device: str) -> DiagnosticStatus:
    """The device's health for dashboards."""
    return diagnostic_status(
        name="teleop: device",
        level=OK if view.alive and not view.reason else WARN if view.alive else ERROR,
        message=view.reason or ("engaged" if view.engaged else "ready"),
        hardware_id=device,
        values={"deadman held": view.enabled, "frame": view.frame, "speed scale": float(view.speed_scale)},
    )
