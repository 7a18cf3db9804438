"""A teleoperation device in the hand of the scripted expert, who looks at the twin's world and steers as a person would.

It takes hold (presses its deadman) when a task has been set up and is not done yet, and lets go when it is done.
"""

import threading
from types import TracebackType
from typing import Self

import numpy as np

from mola_core.contracts.errors import DeviceError, MolaError, TeleopError
from mola_core.contracts.site import Site
from mola_core.contracts.teleop import TeleopCommand, Twist, TwistFrame
from mola_twin.tasks.truth import Truth
from mola_twin.teleop.steering import Steering
from mola_twin.world_client import WorldClient

_LOOK_S = 0.04
_PAUSE_S = 0.6
"""Between a task's set-up and taking hold: a person looks first, and an operator starts the recording."""
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
        if truth.elapsed_s < self._elapsed_s or self._steering is None:
            self._steering = Steering(truth.task)
        self._elapsed_s = truth.elapsed_s
        working = bool(truth.task) and not done and truth.elapsed_s > _PAUSE_S
        motion, opening = self._steering.steer(truth) if working else (_STILL, self._opening)
        with self._lock:
            self._motion, self._opening, self._enabled = motion, opening, working
