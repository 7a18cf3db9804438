"""How the arm comes to rest after a person has let go, release by release."""

from dataclasses import dataclass, field

import numpy as np

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S
from mola_nodes.faults.braking import REST_SPEED, ArmTrace, Stop, measure_stop
from mola_twin.fault_client import TwinTrace

WATCH_MS = 650
"""How long the arm is watched after a release; the next push comes after 700."""


@dataclass
class Releases:
    """What followed the releases that met a moving arm."""

    stops: list[Stop] = field(default_factory=list)
    never_rested: int = 0
    """The arm still moved when the next push was near."""

    @property
    def count(self) -> int:
        """All of them."""
        return len(self.stops) + self.never_rested

    def note(self, trace: TwinTrace, *, release_ns: int) -> None:
        """Take in one release; one that met an arm at rest (a machine too busy had stopped it) says nothing."""
        # what the arm did from the next push on does not belong to it
        mine = (trace.stamps_ns > release_ns - NS_PER_S // 5) & (trace.stamps_ns < release_ns + WATCH_MS * NS_PER_MS)
        arm = ArmTrace(trace.stamps_ns[mine], trace.joint_velocities[mine], trace.program_running[mine])
        first = int(np.searchsorted(arm.stamps_ns, release_ns))
        if not 0 < first < len(arm.stamps_ns) or arm.speeds[first] < 2 * REST_SPEED:
            return
        if arm.speeds[-1] >= REST_SPEED:
            self.never_rested += 1
        else:
            self.stops.append(measure_stop(arm, fault_ns=release_ns))
