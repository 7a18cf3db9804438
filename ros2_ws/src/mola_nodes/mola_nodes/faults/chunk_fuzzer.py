"""Makes bad chunks of every kind, and good ones that ask for too much, from a seed."""

from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from mola_core.contracts.clock import NS_PER_MS
from mola_core.contracts.geometry import pose_from_transform
from mola_core.contracts.site import Site
from mola_core.contracts.types import ActionChunk, ActionSpace, Joints
from mola_core.control.kinematics import forward_kinematics

_PERIODS_NS = (2 * NS_PER_MS, 10 * NS_PER_MS, 20 * NS_PER_MS, 33_333_333, 50 * NS_PER_MS, 100 * NS_PER_MS)
_PERIOD_WEIGHTS = (0.02, 0.08, 0.2, 0.3, 0.2, 0.2)
_BAD_NUMBERS = (np.nan, np.inf, -np.inf, 1e300, -7.0, 1e9)


class ChunkFuzzer:
    """One stream of chunks as a broken, malicious or merely over-eager policy might send."""

    def __init__(self, site: Site, *, seed: int) -> None:
        self._site = site
        self._random = np.random.default_rng(seed)
        self._sequence = 0
        self._goal = np.array(site.arm.home)

    def chunk(self, *, now_ns: int, commanded: Joints) -> ActionChunk:
        """The next chunk; every other one is well-formed."""
        sound = self._sound(now_ns=now_ns, commanded=commanded)
        return sound if self._random.random() < 0.5 else self._spoilt(sound, now_ns=now_ns)

    def _sound(self, *, now_ns: int, commanded: Joints) -> ActionChunk:
        random = self._random
        horizon = int(random.choice([1, 3, 8, 12, 16], p=[0.05, 0.05, 0.3, 0.3, 0.3]))
        period_ns = int(random.choice(_PERIODS_NS, p=_PERIOD_WEIGHTS))
        in_tcp = random.random() < 0.1
        targets = (
            self._tcp_path(commanded, horizon=min(horizon, 6))
            if in_tcp
            else self._joint_path(commanded, horizon=horizon, period_s=period_ns * 1e-9)
        )
        self._sequence += 1
        stamp_ns = now_ns - int(random.integers(0, 120)) * NS_PER_MS
        return ActionChunk(
            sequence=self._sequence,
            source="fuzz",
            bundle_id="",
            stamp_ns=stamp_ns,
            alive_stamp_ns=stamp_ns + int(random.integers(0, max(1, now_ns - stamp_ns))),
            start_ns=now_ns + int(random.integers(-3, 3)) * period_ns,
            period_ns=period_ns,
            space=ActionSpace.TCP if in_tcp else ActionSpace.JOINT,
            targets=targets,
            gripper_openings=random.uniform(0.0, 1.0, len(targets)),
            execute_steps=int(random.integers(1, len(targets) + 1)),
            final=bool(random.random() < 0.1),
        )

    def _joint_path(self, commanded: Joints, *, horizon: int, period_s: float) -> Float[np.ndarray, "rows 6"]:
        """From near or far, with steps that the door lets through and the arm cannot follow."""
        random, arm = self._random, self._site.arm
        low, high = np.array(arm.position_min), np.array(arm.position_max)
        start = commanded + random.uniform(-1.0, 1.0, 6) * random.choice([0.0, 0.0, 0.0, 0.01, 0.2, 1.0])
        top = 1.9 * np.array(arm.velocity_max) * period_s * random.choice([0.1, 0.5, 1.0])
        if random.random() < 0.004:
            # A place that several chunks in a row head for, mostly one where something is in the way.
            self._goal = np.array(arm.home) + random.uniform(-2.5, 2.5, 6)
        if random.random() < 0.8:
            ahead = self._goal - start
            steps = np.tile(np.clip(ahead, -1.0, 1.0) * top, (horizon, 1))
        else:
            steps = random.uniform(-1.0, 1.0, (horizon, 6)) * top
        return np.clip(start + np.cumsum(steps, axis=0), low, high)

    def _tcp_path(self, commanded: Joints, *, horizon: int) -> Float[np.ndarray, "rows 6"]:
        """From the TCP in any direction, often down through the table."""
        random = self._random
        pose = pose_from_transform(forward_kinematics(commanded, self._site.arm.tcp_offset))
        step = random.uniform(-0.02, 0.02, 6)
        if random.random() < 0.5:
            step[2] = -abs(step[2])
        return pose + np.cumsum(np.tile(step, (horizon, 1)), axis=0)

    def _spoilt(self, chunk: ActionChunk, *, now_ns: int) -> ActionChunk:
        random = self._random
        horizon = len(chunk.targets)
        kind = int(random.integers(0, 12))
        if kind == 0:
            targets = chunk.targets.copy()
            targets[random.integers(0, horizon), random.integers(0, 6)] = random.choice(_BAD_NUMBERS)
            return replace(chunk, targets=targets)
        if kind == 1:
            openings = chunk.gripper_openings.copy()
            openings[random.integers(0, horizon)] = random.choice([np.nan, -0.1, 1.1, np.inf])
            return replace(chunk, gripper_openings=openings)
        if kind == 2:
            return replace(chunk, targets=random.normal(size=tuple(random.integers(0, 8, random.integers(1, 4)))))
        if kind == 3:
            return replace(chunk, gripper_openings=np.zeros(horizon + int(random.choice([-1, 1]))))
        if kind == 4:
            return replace(chunk, sequence=self._sequence - int(random.integers(1, 200)))
        return replace(chunk, **self._spoilt_header(kind, now_ns=now_ns, horizon=horizon))

    def _spoilt_header(self, kind: int, *, now_ns: int, horizon: int) -> dict[str, Any]:
        random = self._random
        long_ns = int(random.integers(1, 10**12))
        choices: dict[int, dict[str, Any]] = {
            5: {"stamp_ns": now_ns - long_ns, "alive_stamp_ns": now_ns - long_ns // 2},
            6: {"stamp_ns": now_ns + long_ns, "alive_stamp_ns": now_ns + long_ns},
            7: {"start_ns": now_ns + int(random.choice([-1, 1])) * long_ns},
            8: {"period_ns": int(random.choice([0, -1, 1, 10**10]))},
            9: {"execute_steps": int(random.choice([0, -1, horizon + 1]))},
            10: {"alive_stamp_ns": 0},
            11: {"targets": random.uniform(-6.0, 6.0, (horizon, 6))},  # anywhere, all over the place
        }
        return choices[kind]
