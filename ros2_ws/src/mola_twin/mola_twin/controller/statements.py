"""Running the plain statements of :mod:`mola_twin.controller.script`."""

import logging
from collections.abc import Callable, Sequence

from mola_twin.controller.cartesian import MoveLine, stop_line
from mola_twin.controller.motions import Motion, MoveJoints, stop_joints
from mola_twin.controller.program import Steps, run_cycle
from mola_twin.controller.registers import STANDARD_OUTPUTS
from mola_twin.controller.robot import Robot
from mola_twin.controller.script import Statement

log = logging.getLogger(__name__)


def run_statements(
    robot: Robot, statements: Sequence[Statement], *, signal_progress: Callable[[int], None] | None = None
) -> Steps:
    """Run statements one after the other, yielding once a cycle while one takes time."""
    for statement in statements:
        if statement.kind in {"move", "stop"}:
            motion = _motion(robot, statement)
            robot.joints.start(motion)
            while not motion.done:
                yield
        elif statement.kind == "sleep":
            until_s = robot.time_s + statement.number("value")
            while robot.time_s < until_s:
                yield
        elif statement.kind == "sync":
            yield
        elif statement.kind == "progress" and signal_progress is not None:
            signal_progress(int(statement.number("value")))
        else:
            _at_once(robot, statement)


def _at_once(robot: Robot, statement: Statement) -> None:
    if statement.kind == "integer":
        register = int(statement.number("a") + statement.number("b"))
        robot.registers.output_int[register] = int(statement.number("value"))
    elif statement.kind == "output":
        mask = 1 << int(statement.number("a"))
        robot.box.set_digital(STANDARD_OUTPUTS, mask=mask, value=mask if statement.fields["value"] == "True" else 0)
    elif statement.kind == "log":
        log.info("textmsg: %s", statement.fields["text"])


def _motion(robot: Robot, statement: Statement) -> Motion:
    """Blend radii are ignored: every waypoint is reached and left from rest."""
    acceleration = statement.number("a")
    if statement.kind == "stop":
        if statement.fields["kind"] == "stopj":
            return stop_joints(acceleration=acceleration)
        return stop_line(tool=robot.tool, acceleration=acceleration)
    target, is_pose, speed = statement.vector, bool(statement.fields["pose"]), statement.number("v")
    if statement.fields["kind"] == "movej":
        goal = robot.tool.solve(target, near=robot.joints.positions) if is_pose else target
        return MoveJoints(goal=goal, speed=speed, acceleration=acceleration)
    pose = target if is_pose else robot.tool.pose(target)
    return MoveLine(tool=robot.tool, goal=pose, speed=speed, acceleration=acceleration)


class StatementProgram:
    """A custom script made of plain statements."""

    def __init__(self, *, name: str, robot: Robot, statements: Sequence[Statement]) -> None:
        self.name = name
        self._steps = run_statements(robot, statements)

    def step(self, robot: Robot) -> bool:  # noqa: ARG002
        return run_cycle(self._steps)
