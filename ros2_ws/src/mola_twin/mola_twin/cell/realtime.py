"""The physics of the cell in real time, in a thread of its own."""

import threading
from pathlib import Path

import mujoco
import numpy as np

from mola_core.contracts.clock import NS_PER_MS, Clock
from mola_core.contracts.shared_block import SharedBlock
from mola_twin.cell import layout
from mola_twin.cell.arm_follower import ArmFollower
from mola_twin.cell.physics import PhysicsCell
from mola_twin.link import CELL_BLOCK, CELL_DTYPE
from mola_twin.tasks.start import SceneStart, sample_start
from mola_twin.tasks.success import Success
from mola_twin.tasks.truth import Truth

_WAKE_NS = 4 * NS_PER_MS
"""Two physics steps at a time: half the wake-ups, and the controller needs the cell's news no sooner."""


class RealtimeCell:
    """A :class:`PhysicsCell` that follows the controller; all methods may be called from any thread."""

    def __init__(self, run_dir: Path, *, clock: Clock) -> None:
        self._clock = clock
        self._cell = PhysicsCell()
        self._follower = ArmFollower(run_dir, home=np.array(layout.HOME_JOINTS))
        run_dir.mkdir(parents=True, exist_ok=True)
        self._block = SharedBlock(run_dir / CELL_BLOCK, CELL_DTYPE, create=True)
        self._record = np.zeros((), CELL_DTYPE)
        self._lock = threading.Lock()
        self._stamp_ns = clock.now_ns()

    def run(self, stopping: threading.Event) -> None:
        """Step until ``stopping``; blocks."""
        deadline_ns = self._clock.monotonic_ns()
        while not stopping.is_set():
            self._advance()
            deadline_ns = max(deadline_ns + _WAKE_NS, self._clock.monotonic_ns())
            self._clock.sleep_until(deadline_ns)

    def reset(self, *, task: str, seed: int, variant: str) -> SceneStart:
        """Put objects and furniture; the arm stays where it is.

        Raises:
            ConfigError: unknown task or variant, negative seed.
            ResetRefusedError: the arm stands where objects would be put.
        """
        start = sample_start(task=task, seed=seed, variant=variant)
        with self._lock:
            self._cell.reset(start)
        return start

    def truth(self) -> Truth:
        """Everything there is to know, as of the newest physics step."""
        with self._lock:
            return self._cell.truth(stamp_ns=self._stamp_ns)

    def success(self) -> Success:
        """The newest verdict on the running task."""
        with self._lock:
            return self._cell.success()

    def is_dropped(self, camera_bit: int) -> bool:
        """Whether the fault channel has silenced the camera of this bit."""
        return bool(self._follower.dropped_cameras >> camera_bit & 1)

    def snapshot(self, copy: mujoco.MjData | None, model: mujoco.MjModel | None) -> "Snapshot":
        """The state to draw, in ``copy`` if it belongs to the model in force (a reset may have replaced it)."""
        with self._lock:
            current = self._cell.model
            if copy is None or model is not current:
                copy = mujoco.MjData(current)
            mujoco.mj_copyData(copy, current, self._cell.data)
            return Snapshot(current, copy, self._clock.now_ns())

    def close(self) -> None:
        """Detach from the controller and remove the cell's record."""
        self._follower.close()
        self._block.close()

    def _advance(self) -> None:
        commands = self._follower.steps()
        if not commands:
            return
        for command in commands:
            with self._lock:  # a step at a time, so that nobody waits long
                self._cell.step(command)
                self._stamp_ns = self._clock.now_ns()
        with self._lock:
            state = self._cell.state()
        self._record["stamp_ns"] = self._stamp_ns
        self._record["gripper_opening"] = state.gripper_opening
        self._record["gripper_blocked"] = state.gripper_blocked
        self._record["contact_force"] = state.contact_force
        self._block.write(self._record)


class Snapshot:
    """What a renderer draws."""

    __slots__ = ("data", "model", "stamp_ns")

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, stamp_ns: int) -> None:
        self.model = model
        self.data = data
        self.stamp_ns = stamp_ns
