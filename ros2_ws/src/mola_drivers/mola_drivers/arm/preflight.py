"""What must be true of the controller before it is sent a program, and getting it out of a protective stop."""

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S, Clock
from mola_core.contracts.errors import ArmError
from mola_core.contracts.types import SafetyMode
from mola_drivers.arm.dashboard import Dashboard
from mola_drivers.arm.ports import probe_rtde, probe_script_port
from mola_drivers.arm.protocol import SAFE_MODES, refusal

_UNLOCK_WAIT_NS = 5 * NS_PER_S
"""UR refuses to unlock earlier after the stop."""
_UNLOCK_LIMIT_NS = 5 * NS_PER_S
_TOO_EARLY = "Cannot unlock protective stop until"
_RELEASE_LIMIT_NS = 5 * NS_PER_S
_POLL_NS = 100 * NS_PER_MS


def check_controller(*, host: str) -> None:
    """Reachable on every port, in remote control, running, safe. Takes at most some seconds and changes nothing.

    Raises:
        ArmError: the first of these that does not hold, with the cure.
    """
    with Dashboard(host=host) as dashboard:
        if not dashboard.in_remote_control():
            raise ArmError(
                f"the controller at {host} is in local control; switch it to Remote Control at the pendant's top right"
            )
        reason = refusal(safety_mode=dashboard.safety_mode(), robot_mode=dashboard.robot_mode(), program_running=True)
    if reason is not None:
        raise ArmError(f"controller at {host}: {reason}")
    probe_rtde(host=host)
    probe_script_port(host=host)


def unlock_protective_stop(*, host: str, clock: Clock) -> None:
    """Close the pop-up, stop the program, wait, unlock, wait until safe. Blocks for about six seconds.

    The program is stopped first because UR only pauses it: unlocked, it would go on where it was interrupted.

    Raises:
        ArmError: there is nothing to unlock, or the controller refuses.
    """
    with Dashboard(host=host) as dashboard:
        mode = dashboard.safety_mode()
        if mode is not SafetyMode.PROTECTIVE_STOP:
            raise ArmError(f"the arm at {host} is in safety mode {mode.name}: there is no protective stop to unlock")
        dashboard.ask("close safety popup")
        dashboard.ask("stop")
        clock.sleep_until(clock.monotonic_ns() + _UNLOCK_WAIT_NS)
        deadline_ns = clock.monotonic_ns() + _UNLOCK_LIMIT_NS
        while (answer := dashboard.ask("unlock protective stop")).startswith(_TOO_EARLY):
            if clock.monotonic_ns() > deadline_ns:
                break
            clock.sleep_until(clock.monotonic_ns() + _POLL_NS)
        if answer != "Protective stop releasing":
            raise ArmError(f"the controller at {host} does not unlock: {answer}")
        deadline_ns = clock.monotonic_ns() + _RELEASE_LIMIT_NS
        while (mode := dashboard.safety_mode()) not in SAFE_MODES:
            if clock.monotonic_ns() > deadline_ns:
                raise ArmError(f"the arm at {host} is still in {mode.name} after unlocking; look at the pendant")
            clock.sleep_until(clock.monotonic_ns() + _POLL_NS)
