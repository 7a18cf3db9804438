"""What the scripted device does in ``mola bench teleop``, and when: the bench compares the arm with it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mola_core.contracts.clock import NS_PER_S
from mola_drivers.teleop.specs import ScriptedTeleopSpec

SPEED_M_S, TURN_RAD_S = 0.25, 0.8
"""Full deflection; what is let through of it is the session's affair."""
DIRECTIONS = np.array(
    [
        [0, SPEED_M_S, 0, 0, 0, 0],
        [0, -SPEED_M_S, 0, 0, 0, 0],
        [0, 0, SPEED_M_S, 0, 0, 0],
        [0, 0, -SPEED_M_S, 0, 0, 0],
        [SPEED_M_S, 0, 0, 0, 0, 0],
        [-SPEED_M_S, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, TURN_RAD_S],
        [0, 0, 0, 0, 0, -TURN_RAD_S],
    ]
)
"""Each with its opposite after it, so that the arm stays about where it is."""
WIGGLE_M_S = 0.04
"""Slow enough to be let through whole."""


@dataclass(frozen=True, slots=True)
class Script:
    """Steps of the device from ``start_ns`` on."""

    start_ns: int
    durations_s: Float[np.ndarray, "steps"]
    velocities: Float[np.ndarray, "steps 6"]
    enabled: list[bool]

    @property
    def end_ns(self) -> int:
        """Stamp at which the last step is over."""
        return self.start_ns + round(float(self.durations_s.sum()) * NS_PER_S)

    @property
    def releases_ns(self) -> list[int]:
        """Stamps at which a deadman that was held is let go."""
        ends = np.cumsum(self.durations_s)
        changes = [step for step in range(len(ends) - 1) if self.enabled[step] and not self.enabled[step + 1]]
        return [self.start_ns + round(float(ends[step]) * NS_PER_S) for step in changes]

    def velocity(self, stamps_ns: np.ndarray) -> Float[np.ndarray, "stamps 6"]:
        """What the device said at these stamps."""
        elapsed_s = (stamps_ns - self.start_ns) / NS_PER_S
        steps = np.searchsorted(np.cumsum(self.durations_s), elapsed_s, side="right")
        inside = (elapsed_s >= 0.0) & (steps < len(self.durations_s))
        found = self.velocities[np.minimum(steps, len(self.durations_s) - 1)]
        return np.where(inside[:, None], found, 0.0)

    def spec(self) -> ScriptedTeleopSpec:
        """For the device."""
        steps = [
            {"duration_s": float(duration), "velocity": velocity.tolist(), "enabled": enabled}
            for duration, velocity, enabled in zip(self.durations_s, self.velocities, self.enabled, strict=True)
        ]
        return ScriptedTeleopSpec.model_validate({"kind": "scripted", "steps": steps, "start_ns": self.start_ns})


def wiggle(*, start_ns: int, seconds: float, seed: int) -> Script:
    """Held all the time, pushed to and fro for random times: a signal that fits itself at one delay only."""
    rng = np.random.default_rng(seed)
    durations = [0.5]
    velocities = [np.zeros(6)]
    direction = 1.0
    while sum(durations) < seconds:
        durations.append(float(rng.uniform(0.15, 0.5)))
        velocities.append(direction * np.array([0.0, WIGGLE_M_S, 0.0, 0.0, 0.0, 0.0]))
        direction = -direction
    return Script(
        start_ns,
        np.array([0.2, *durations, 0.3]),
        np.array([np.zeros(6), *velocities, np.zeros(6)]),
        [False, *[True] * len(durations), False],
    )


def releases(*, start_ns: int, count: int, seed: int) -> Script:
    """Pushed in one direction after the other for random times and let go in full motion."""
    rng = np.random.default_rng(seed)
    durations, velocities, enabled = [0.5], [np.zeros(6)], [False]
    for number in range(count):
        durations += [float(rng.uniform(0.35, 0.8)), 0.7]
        velocities += [DIRECTIONS[number % len(DIRECTIONS)], np.zeros(6)]
        enabled += [True, False]
    return Script(start_ns, np.array(durations), np.array(velocities), enabled)
