"""When a task counts as done. Each predicate judges one instant; done means true without a break for its dwell.

- ``bottle_in_bin``: the bottle's middle lies inside the bin's walls and its foot below the rim, nothing of the robot
  touches it and it is at rest.
- ``grab_bowl``: both fingers hold the bowl, its foot is at least 6 cm above the table, it is tilted by less than 50
  degrees and touches nothing else.
- ``stack_blocks``: the named block rests on the other named one: an edge above it within 6 mm, their centres within
  60 % of half an edge, which a tower survives; the robot has let go, both rest and the lower one stands on the table.
- ``open_drawer``: pulled out by at least 8 of its 12 cm and no longer moving.
- ``press_button``: pressed in by at least 6 of its 10 mm; remembered until the next reset, as the button's light shows.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mola_core.contracts.geometry import inverse_transform
from mola_twin.cell import layout
from mola_twin.tasks.truth import Truth

BOWL_LIFT_M = 0.06
BOWL_MAX_TILT = float(np.deg2rad(50))
DRAWER_OPEN_M = 0.08
BUTTON_PRESSED_M = 0.006
STACK_HEIGHT_TOLERANCE_M = 0.006
STACK_OFFSET_M = 0.6 * layout.BLOCK_HALF
REST_SPEED, REST_TURN = 0.03, 0.5
"""m/s and rad/s below which an object rests."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is asked of one instant, and each condition's answer."""

    conditions: dict[str, bool]

    @property
    def met(self) -> bool:
        """All conditions hold."""
        return all(self.conditions.values())


def _resting(truth: Truth, name: str) -> bool:
    item = truth.objects[name]
    return item.linear_speed < REST_SPEED and item.angular_speed < REST_TURN


def _bottle_in_bin(truth: Truth) -> Judgement:
    bottle, target = truth.objects["bottle"], truth.objects["bin"]
    middle = bottle.base_from_object @ np.array([0.0, 0.0, layout.BOTTLE_BODY / 2, 1.0])
    x, y, z = (inverse_transform(target.base_from_object) @ middle)[:3]
    return Judgement(
        {
            "inside_walls": bool(max(abs(x), abs(y)) < layout.BIN_HALF),
            "below_rim": bool(bottle.position[2] < layout.BIN_HEIGHT and z < layout.BIN_HEIGHT + 0.03),
            "released": not bottle.handled,
            "at_rest": _resting(truth, "bottle"),
        }
    )


def _grab_bowl(truth: Truth) -> Judgement:
    bowl = truth.objects["bowl"]
    return Judgement(
        {
            "held": bowl.held,
            "lifted": bool(bowl.position[2] > BOWL_LIFT_M),
            "level": bowl.tilt < BOWL_MAX_TILT,
            "clear": set(bowl.touches) <= {"finger_left", "finger_right", "arm"},
        }
    )


def _stack_blocks(truth: Truth) -> Judgement:
    top, bottom = truth.objects[truth.stack_top], truth.objects[truth.stack_bottom]
    dx, dy, dz = top.position - bottom.position
    return Judgement(
        {
            "above": bool(abs(dz - 2 * layout.BLOCK_HALF) < STACK_HEIGHT_TOLERANCE_M),
            "centred": float(np.hypot(dx, dy)) < STACK_OFFSET_M,
            "touching": truth.stack_bottom in top.touches,
            "bottom_on_table": "table" in bottom.touches and "table" not in top.touches,
            "released": not top.handled,
            "at_rest": _resting(truth, truth.stack_top) and _resting(truth, truth.stack_bottom),
        }
    )


def _open_drawer(truth: Truth) -> Judgement:
    return Judgement({"open": truth.drawer_opening > DRAWER_OPEN_M, "at_rest": abs(truth.drawer_speed) < REST_SPEED})


def _press_button(truth: Truth) -> Judgement:
    return Judgement({"pressed": truth.button_pressed})


@dataclass(frozen=True, slots=True)
class Predicate:
    """One instant's judgement and for how long it must hold."""

    judge: Callable[[Truth], Judgement]
    dwell_s: float


PREDICATES: dict[str, Predicate] = {
    "bottle_in_bin": Predicate(_bottle_in_bin, 0.3),
    "grab_bowl": Predicate(_grab_bowl, 0.5),
    "stack_blocks": Predicate(_stack_blocks, 0.5),
    "open_drawer": Predicate(_open_drawer, 0.3),
    "press_button": Predicate(_press_button, 0.0),
}


@dataclass(frozen=True, slots=True)
class Success:
    """Whether the running task is done, and why or why not."""

    task: str
    done: bool
    held_s: float
    """For how long the predicate has held without a break."""
    dwell_s: float
    conditions: dict[str, bool]


class SuccessMonitor:
    """Watches one episode. Call :meth:`update` with every new truth."""

    def __init__(self, task: str) -> None:
        self.task = task
        self._since_s: float | None = None
        self._last = Success(task, done=False, held_s=0.0, dwell_s=PREDICATES[task].dwell_s, conditions={})

    def update(self, truth: Truth) -> Success:
        """Judge ``truth``, whose ``elapsed_s`` must not go back."""
        predicate = PREDICATES[self.task]
        judgement = predicate.judge(truth)
        if not judgement.met:
            self._since_s = None
        elif self._since_s is None:
            self._since_s = truth.elapsed_s
        held_s = 0.0 if self._since_s is None else truth.elapsed_s - self._since_s
        self._last = Success(
            task=self.task,
            done=judgement.met and held_s >= predicate.dwell_s,
            held_s=held_s,
            dwell_s=predicate.dwell_s,
            conditions=judgement.conditions,
        )
        return self._last

    @property
    def last(self) -> Success:
        """The newest verdict."""
        return self._last
