"""The chunks of a replay: first slowly to where the recording began, then what it commanded, at its own pace."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S
from mola_core.contracts.io_spec import DataContract
from mola_core.contracts.site import Site
from mola_core.contracts.types import ActionChunk, ActionSpace, Joints
from mola_core.data.replay.track import Track

SOURCE = "replay"
APPROACH_SPEED = 0.4
"""rad/s, the fastest joint on the way to the start."""
AT_START_RAD = 0.02
"""No joint further from where the recording began than this, and it may begin again."""
_APPROACH_PERIOD_NS = 40 * NS_PER_MS
_AHEAD_NS = NS_PER_S
_PEAK_OF_MEAN = 1.875
"""Of a minimum-jerk motion: its highest speed over its mean."""


@dataclass(frozen=True)
class Approach:
    """A minimum-jerk motion of all joints from where the arm is to where the recording began."""

    begin_ns: int
    start: Joints
    goal: Joints
    opening: float

    @property
    def duration_ns(self) -> int:
        """Until it rests at the goal."""
        return round(_PEAK_OF_MEAN * float(np.abs(self.goal - self.start).max()) / APPROACH_SPEED * NS_PER_S)

    def chunk(self, *, now_ns: int, stamp_ns: int) -> ActionChunk:
        """The next second of it."""
        stamps = now_ns + _APPROACH_PERIOD_NS * np.arange(1, _AHEAD_NS // _APPROACH_PERIOD_NS + 1)
        share = np.clip((stamps - self.begin_ns) / max(self.duration_ns, 1), 0.0, 1.0)
        travelled = share**3 * (10.0 - 15.0 * share + 6.0 * share**2)
        targets = self.start + travelled[:, None] * (self.goal - self.start)
        openings = np.full(len(targets), self.opening)
        return _chunk(
            targets,
            openings,
            space=ActionSpace.JOINT,
            start_ns=int(stamps[0]),
            period_ns=_APPROACH_PERIOD_NS,
            stamp_ns=stamp_ns,
        )


def track_chunk(track: Track, *, begin_ns: int, now_ns: int, stamp_ns: int) -> ActionChunk:
    """The next second of a recording whose first row is due at ``begin_ns``; beyond its end, its last row is held."""
    ahead = max(_AHEAD_NS // track.period_ns, 2)
    first = max((now_ns - begin_ns) // track.period_ns, 0)
    rows = np.minimum(first + np.arange(ahead), len(track.targets) - 1)
    return _chunk(
        track.targets[rows],
        track.openings[rows],
        space=track.space,
        start_ns=begin_ns + first * track.period_ns,
        period_ns=track.period_ns,
        stamp_ns=stamp_ns,
    )


def require_site(track: Track, site: Site) -> None:
    """Refuse a recording of another kind of rig.

    Raises:
        ContractMismatchError: other cameras, another robot, or other meanings of the numbers.
    """
    here = DataContract(cameras=tuple(site.cameras), period_ns=track.contract.period_ns)
    track.contract.require(here, what=track.name, where=f"site {site.name}")


def is_at_start(track: Track, joints: Joints) -> bool:
    """Whether the recording may begin from ``joints``."""
    return float(np.abs(joints - track.start_joints).max()) <= AT_START_RAD


def _chunk(
    targets: Float[np.ndarray, "rows 6"],
    openings: Float[np.ndarray, "rows"],
    *,
    space: ActionSpace,
    start_ns: int,
    period_ns: int,
    stamp_ns: int,
) -> ActionChunk:
    return ActionChunk(
        sequence=0,
        source=SOURCE,
        bundle_id="",
        stamp_ns=stamp_ns,
        alive_stamp_ns=stamp_ns,
        start_ns=start_ns,
        period_ns=period_ns,
        space=space,
        targets=targets,
        gripper_openings=openings,
        execute_steps=len(targets),
        final=False,
    )
