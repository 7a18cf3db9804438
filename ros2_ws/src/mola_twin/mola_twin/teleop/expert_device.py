"""A teleoperation device in the hand of the scripted expert, who looks at the twin's world and steers as a person would.

It takes hold (presses its deadman) when a task has been set up and is not done yet, lets go when it is done, and after a moment,
in which an operator ends the recording, takes the arm home.
"""

import threading
from types import TracebackType
from typing import Self

import numpy as np

from mola_core.contracts.clock import NS_PER_S
from mola_core.contracts.errors import DeviceError, MolaError, TeleopError
from mola_core.contracts.site import Site
from mola_core.contracts.teleop import TeleopCommand, Twist, TwistFrame
from mola_twin.tasks.instructions import TASKS
from mola_twin.tasks.truth import Truth
from mola_twin.teleop.steering import Steering, homeward
from mola_twin.world_client import WorldClient

_LOOK_S = 0.04
_PAUSE_S = 1.0
"""Between a task's set-up and taking hold, and between its end and the way home: a person looks first."""
_PUSH_M_S = 0.02
_STUCK_NS, _SLIP_NS = 2 * NS_PER_S, NS_PER_S // 2
"""An arm that does not move in spite of a push for so long was stopped: the switch is let go and pressed again."""
_STUCK_M = 0.002
_STILL = Twist(np.zeros(6), TwistFrame.BASE)


class ExpertTeleop:
    """Behind the drivers' protocol for devices. Looks at the world 25 times a second in a thread of its own."""

    name = "expert"

    def __init__(self, site: Site, *, world_host: str) -> None:
        self._site = site
        self._world_host = world_host
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._motion, self._opening, self._enabled, self._alive = _STILL, 1.0, False, False
        self._steering: Steering | None = None
        self._elapsed_s = float("inf")
        self._done_s = float("inf")
        self._grip = _Grip()

    def __enter__(self) -> Self:
        try:
            with WorldClient(self._world_host) as world:
                world.tasks()
        except DeviceError as error:
            raise TeleopError(f"the expert sees no scene: {error}") from error
        self._ending.clear()
        self._alive = True
        self._thread = threading.Thread(target=self._look_on, name="expert's eyes", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def read(self, now_ns: int) -> TeleopCommand:
        if self._thread is None:
            raise TeleopError("the expert's device is not open; use it inside `with device:`")
        with self._lock:
            return TeleopCommand(
                stamp_ns=now_ns,
                motion=self._motion,
                gripper_opening=self._opening,
                enabled=self._enabled and self._alive,
                alive=self._alive,
            )

    def _look_on(self) -> None:
        with WorldClient(self._world_host) as world:
            while not self._ending.wait(_LOOK_S):
                try:
                    self._decide(world.truth(), done=world.success().done)
                except MolaError:
                    with self._lock:
                        self._alive, self._enabled = False, False
                    return

    def _decide(self, truth: Truth, *, done: bool) -> None:
        if truth.task in TASKS and (truth.elapsed_s < self._elapsed_s or self._steering is None):
            self._steering, self._done_s = Steering(truth.task), float("inf")
        self._elapsed_s = truth.elapsed_s
        motion = self._motion_for(truth, done=done)
        pushes = motion is not None and bool(np.linalg.norm(motion.velocity[:3]) > _PUSH_M_S)
        held = not self._grip.slips(truth, pushes=pushes) and motion is not None
        with self._lock:
            self._motion, self._enabled = motion or _STILL, held

    def _motion_for(self, truth: Truth, *, done: bool) -> Twist | None:
        """The way the task goes, then the way home; None: hands off."""
        if self._steering is None or truth.elapsed_s < _PAUSE_S:
            return None
        if done:
            self._done_s = min(self._done_s, truth.elapsed_s)
            return homeward(truth) if truth.elapsed_s > self._done_s + _PAUSE_S else None
        motion, self._opening = self._steering.steer(truth)
        return motion


class _Grip:
    """Lets go of the switch for a moment when pushing is of no use: after a stop it must be pressed anew."""

    def __init__(self) -> None:
        self._place = np.zeros(3)
        self._since_ns = 0

    def slips(self, truth: Truth, *, pushes: bool) -> bool:
        """Whether the switch is let go now."""
        place = truth.base_from_tcp[:3, 3]
        if not pushes or float(np.linalg.norm(place - self._place)) > _STUCK_M:
            self._place, self._since_ns = place, truth.stamp_ns
        stuck_ns = truth.stamp_ns - self._since_ns
        if stuck_ns > _STUCK_NS + _SLIP_NS:
            self._since_ns = truth.stamp_ns
        return stuck_ns > _STUCK_NS
