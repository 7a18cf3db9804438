"""A recorded episode once more on a lockstep rig: the same scene, the same commands, and whether the same came of it."""

from dataclasses import dataclass, replace

import numpy as np

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S
from mola_core.contracts.errors import ChunkRejectedError
from mola_core.contracts.rig import LockstepRig
from mola_core.contracts.types import ActionChunk, Joints
from mola_core.data.replay.chunks import Approach, is_at_start, track_chunk
from mola_core.data.replay.track import Scene, Track
from mola_core.evaluation.errors import EvaluationError

_SLICE_NS = 100 * NS_PER_MS
_SETTLE_NS = 2 * NS_PER_S
"""After the last command: a task is done when it has stayed done for a while."""
_LEAD_NS = 200 * NS_PER_MS
"""From the decision to begin to the first row, so that it is not entered late."""
_MAX_APPROACH_NS = 60 * NS_PER_S


@dataclass(frozen=True)
class Replay:
    """What came of it."""

    name: str
    scene: Scene
    recorded_outcome: str
    success: bool
    reason: str
    """``done``, or why not."""
    duration_s: float
    """Of simulated time, the approach included."""
    approached_rad: float
    """How far the start was, the furthest joint."""

    @property
    def same(self) -> bool | None:
        """Whether it ended as the recording did; None where the recording was never judged."""
        judged = self.recorded_outcome in {"success", "failure"}
        return self.success == (self.recorded_outcome == "success") if judged else None


def replay_lockstep(rig: LockstepRig, track: Track, *, scene: Scene) -> Replay:
    """From the recorded start of the scene to the last command and a moment beyond.

    Raises:
        EvaluationError: the start cannot be reached.
        ConfigError: the rig knows no such task or variant.
    """
    rig.reset(task=scene.task, seed=scene.seed, variant=scene.variant)
    run = _Run(rig)
    joints = rig.observe().state.joint_positions
    if not is_at_start(track, joints):
        run.approach(track, joints)
    reason = run.follow(track)
    return Replay(
        name=track.name,
        scene=scene,
        recorded_outcome=track.outcome,
        success=reason == "done",
        reason=reason,
        duration_s=rig.elapsed_s(),
        approached_rad=float(np.abs(joints - track.start_joints).max()),
    )


class _Run:
    def __init__(self, rig: LockstepRig) -> None:
        self._rig = rig
        self._sequence = 0

    def approach(self, track: Track, joints: Joints) -> None:
        """Slowly from ``joints`` to where the recording began."""
        begin_ns = self._rig.now_ns()
        way = Approach(begin_ns=begin_ns, start=joints, goal=track.start_joints, opening=float(track.openings[0]))
        if way.duration_ns > _MAX_APPROACH_NS:
            raise EvaluationError(
                f"{track.name} begins {way.duration_ns / NS_PER_S:.0f} s of slow motion away from here"
            )
        while self._rig.now_ns() < begin_ns + way.duration_ns + _SETTLE_NS // 4:
            self._step(way.chunk(now_ns=self._rig.now_ns(), stamp_ns=self._rig.now_ns()))
        if self._rig.stop_reason or not is_at_start(track, self._rig.observe().state.joint_positions):
            raise EvaluationError(
                f"the start of {track.name} cannot be reached: {self._rig.stop_reason or 'the arm does not arrive'}"
            )

    def follow(self, track: Track) -> str:
        """All commands, then a moment; ``done`` or why not."""
        begin_ns = self._rig.now_ns() + _LEAD_NS
        end_ns = begin_ns + track.duration_ns + _SETTLE_NS
        while self._rig.now_ns() < end_ns:
            now_ns = self._rig.now_ns()
            try:
                self._step(track_chunk(track, begin_ns=begin_ns, now_ns=now_ns, stamp_ns=now_ns))
            except ChunkRejectedError as error:
                return f"a chunk was refused: {error}"
            if self._rig.stop_reason:
                return f"the arm stopped: {self._rig.stop_reason}"
            if self._rig.verdict().done:
                return "done"
        return self._rig.verdict().reason

    def _step(self, chunk: ActionChunk) -> None:
        self._sequence += 1
        self._rig.step(replace(chunk, sequence=self._sequence), duration_ns=_SLICE_NS)
