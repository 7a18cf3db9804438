"""The program that ur_rtde uploads, as a state machine: one call is one 2 ms cycle of its main loop.

Its commands arrive in input integer register 0 (or 24), their arguments in the registers above, its answers leave through
the output registers: integer 0 is the state of the script, integer 1 a result, integer 2 the progress of an asynchronous
motion, the doubles a vector. Each command is one function in :mod:`mola_twin.controller.commands`; one that takes time is a
generator that yields once a cycle, which is also what URScript's threads become.
"""

from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING

from mola_twin.controller.motions import Motion, stop_joints
from mola_twin.controller.poses import Tool
from mola_twin.controller.robot import PROGRAM_STOP_DECELERATION, ProgramError, Robot
from mola_twin.controller.script import Statement

if TYPE_CHECKING:
    from mola_twin.controller.command import Command

READY, DONE = 1, 2
STOP_SCRIPT = 255
_STATE, _RESULT, _PROGRESS = 0, 1, 2
_RUNNING_BIT = 1 << 15

Steps = Generator[None, None, None]
_END = object()


def run_cycle(steps: Steps) -> bool:
    """Run a generator for one cycle; False once it has ended."""
    return next(steps, _END) is not _END


class ControlProgram:
    """ur_rtde's control script. ``offset`` is 0, or 24 with the client's FLAG_UPPER_RANGE_REGISTERS."""

    def __init__(
        self, *, robot: Robot, commands: "Mapping[int, Command]", offset: int, path: Sequence[Statement]
    ) -> None:
        self.name = "rtde_control"
        self.robot = robot
        self.offset = offset
        self.path = tuple(path)
        """Statements that the client put into ``exec_move_path`` for its path commands."""
        self.stop_along_line = False
        """The script's global ``stop_type``; see :func:`mola_twin.controller.commands.stop`."""
        self._commands = commands
        self._threads: dict[str, Steps] = {}
        self._blocking: Steps | None = None
        self._executing = False
        self._operation = 0
        self._writes = 0
        self._started = False

    def step(self, robot: Robot) -> bool:
        """One cycle; False ends the program."""
        if not self._started:
            self._started = True
            self.signal_progress(-1)
            self._signal(READY)
        self._run_threads()
        if self._blocking is not None:
            if not run_cycle(self._blocking):
                self._blocking = None
                self._signal(DONE)
            return True
        return self._take_command(robot.registers.input_int[self.offset])

    def _take_command(self, number: int) -> bool:
        if number == 0:
            self._executing = False
            self._signal(READY)
            return True
        if number == STOP_SCRIPT:
            return False
        command = self._commands.get(number)
        if command is not None and command.every_cycle:
            self._process(number, command)
            self._signal(READY)
        elif not self._executing:
            self._executing = True
            self._process(number, command)
            if self._blocking is None:
                self._signal(DONE)
        return True

    def _process(self, number: int, command: "Command | None") -> None:
        if command is None:
            raise ProgramError(f"command {number} is not one of ur_rtde's; see: mola twin commands")
        if command.run is None:
            raise ProgramError(
                f"command {number} {command.name} ({command.call}) is not supported by the twin: {command.note}; "
                "see: mola twin commands"
            )
        steps = command.run(self)
        if steps is not None and run_cycle(steps):
            self._blocking = steps

    # -- registers -----------------------------------------------------------------------------------------------------

    def doubles(self, first: int, count: int) -> list[float]:
        """Input double registers."""
        start = self.offset + first
        return self.robot.registers.input_double[start : start + count]

    def integer(self, index: int) -> int:
        """Input integer register."""
        return self.robot.registers.input_int[self.offset + index]

    def answer_vector(self, values: Sequence[float]) -> None:
        """Result of a command that answers with numbers."""
        self.robot.registers.write_vector(self.offset, values)

    def answer(self, value: int) -> None:
        """Result of a command that answers with an integer or a truth value."""
        self.robot.registers.output_int[self.offset + _RESULT] = int(value)

    def _signal(self, state: int) -> None:
        self.robot.registers.output_int[self.offset + _STATE] = state

    def signal_progress(self, value: int) -> None:
        """Progress word of asynchronous motions: operation, write count, running bit and progress. 0 begins one, -1 ends."""
        self._writes = (self._writes + 1) % 128
        if value == 0:
            self._operation = (self._operation + 1) % 128
        word = (self._operation << 24) | (self._writes << 16)
        if value >= 0:
            word |= _RUNNING_BIT | min(value, _RUNNING_BIT - 1)
        self.robot.registers.output_int[self.offset + _PROGRESS] = word

    # -- motion --------------------------------------------------------------------------------------------------------

    @property
    def tool(self) -> Tool:
        return self.robot.tool

    def run_motion(self, motion: Motion) -> Steps:
        """Start a motion and yield until it is done."""
        self.robot.joints.start(motion)
        while not motion.done:
            yield

    def require_control(self, *, thread: str | None = None) -> None:
        """One thread at a time may move the arm, as on the real controller."""
        other = next((name for name in self._threads if name != thread), None)
        if other is not None:
            raise ProgramError(f"another thread is already controlling the robot: {other}; end it first ({other}Stop)")

    def start_thread(self, name: str, steps: Steps) -> None:
        """Run ``steps`` beside the main loop."""
        self.require_control(thread=name)
        if run_cycle(steps):
            self._threads[name] = steps

    def running(self, name: str) -> bool:
        """True while that thread runs."""
        return name in self._threads

    def kill_thread(self, name: str) -> bool:
        """End a thread; the arm runs out if it was moving. False if there was none."""
        steps = self._threads.pop(name, None)
        if steps is None:
            return False
        steps.close()
        self.robot.joints.start(stop_joints(acceleration=PROGRAM_STOP_DECELERATION))
        return True

    def _run_threads(self) -> None:
        for name, steps in list(self._threads.items()):
            if not run_cycle(steps):
                self._threads.pop(name, None)
