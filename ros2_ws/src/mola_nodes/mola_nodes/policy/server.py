"""The action behind which every policy runs: one goal at a time, in a thread of its own, ended before its node goes."""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict

from mola_interfaces.action import RunPolicy
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.task import Future

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S
from mola_core.contracts.errors import ConfigError, MolaError
from mola_nodes import graph
from mola_nodes.conversions.policy import feedback_message, result_message, time_limit_ns
from mola_nodes.lifecycle import MolaNode
from mola_nodes.policy.rollout import Progress, Rollout

_FINISH_S = 3.0
_TOLD_NS = 500 * NS_PER_MS
"""For the executor to send a result before the process ends for a bug."""
_FEEDBACK_NS = NS_PER_S // 5

RunGoal = Callable[[str, Callable[[Rollout], None]], None]
"""(instruction, what to do with the rollout made for it); holds whatever the rollout needs while it is run."""


class PolicyServer:
    """Serves ``run_policy`` on a node while the stack it was given is open."""

    def __init__(self, node: MolaNode, *, check: Callable[[str], object], run_goal: RunGoal, stack: ExitStack) -> None:
        """``check`` raises ConfigError for an instruction that cannot be meant."""
        self._node = node
        self._check = check
        self._run_goal = run_goal
        self._busy, self._leaving = threading.Lock(), threading.Event()
        server = ActionServer(
            node,
            graph.RUN_POLICY.type,
            graph.RUN_POLICY.name,
            execute_callback=self._execute,
            goal_callback=self._judge_goal,
            cancel_callback=lambda _goal: CancelResponse.ACCEPT,
        )
        stack.callback(server.destroy)
        stack.callback(self._finish_goal)

    @property
    def busy(self) -> bool:
        """A goal is being executed."""
        return self._busy.locked()

    def refusal_of(self, goal: RunPolicy.Goal) -> str:
        """Why the goal cannot be accepted; empty if it can."""
        if self.busy:
            return "another goal is being executed; cancel it first"
        try:
            self._check(goal.instruction)
            time_limit_ns(goal)
        except ConfigError as error:
            return str(error)
        return ""

    def _judge_goal(self, goal: RunPolicy.Goal) -> GoalResponse:
        refusal = self.refusal_of(goal)
        if refusal:
            self._node.get_logger().error(f"goal refused: {refusal}")
        return GoalResponse.REJECT if refusal else GoalResponse.ACCEPT

    async def _execute(self, goal: ServerGoalHandle) -> RunPolicy.Result:
        # A thread of its own, so that one executor thread suffices: rclpy's several cost four times the CPU time.
        ended = Future()
        threading.Thread(target=self._run, args=(goal, ended.set_result), name="rollout", daemon=True).start()
        return await ended

    def _run(self, goal: ServerGoalHandle, tell: Callable[[RunPolicy.Result], object]) -> None:
        """The client gets a result, whatever becomes of the run: nobody else would hear of an error in this thread."""
        results: list[RunPolicy.Result] = []
        bug: Exception | None = None
        try:
            self._drive(goal, results.append)
        except MolaError as error:
            results.append(self._given_up(goal, str(error)))
        except Exception as error:  # noqa: BLE001 - told to the node below
            bug = error
            results.append(self._given_up(goal, f"a bug ended the run: {error!r}"))
        tell(results[0])
        if bug is not None and not self._leaving.is_set():  # a run that outlives its node finds gone what it needs
            clock = self._node.system_clock
            clock.sleep_until(clock.monotonic_ns() + _TOLD_NS)
            self._node.report_bug(bug)

    def _given_up(self, goal: ServerGoalHandle, reason: str) -> RunPolicy.Result:
        self._node.get_logger().error(f"{goal.request.instruction!r}: {reason}")
        if goal.is_active:
            goal.abort()
        return result_message(outcome=RunPolicy.Result.FAILED, reason=reason, elapsed_ns=0, chunks_sent=0)

    def _drive(self, goal: ServerGoalHandle, note: Callable[[RunPolicy.Result], None]) -> None:
        def drive(rollout: Rollout) -> None:
            end = rollout.run(
                time_limit_ns=time_limit_ns(goal.request),
                cancelled=lambda: goal.is_cancel_requested or self._leaving.is_set(),
                progress=_Feedback(goal).note,
            )
            if end.outcome == RunPolicy.Result.SUCCEEDED:
                goal.succeed()
            elif goal.is_cancel_requested:
                goal.canceled()
            else:
                goal.abort()
            self._node.get_logger().info(f"{goal.request.instruction!r}: {end.reason}")
            note(result_message(**asdict(end), elapsed_ns=rollout.elapsed_ns, chunks_sent=rollout.chunks_sent))

        with self._busy:
            self._run_goal(goal.request.instruction, drive)

    def _finish_goal(self) -> None:
        """End a running goal, so that nobody uses what is about to be destroyed."""
        self._leaving.set()
        if self._busy.acquire(timeout=_FINISH_S):
            self._busy.release()


class _Feedback:
    """Of all that a run says after every chunk, what a person can follow."""

    def __init__(self, goal: ServerGoalHandle) -> None:
        self._goal = goal
        self._next_ns = 0

    def note(self, progress: Progress) -> None:
        if progress.elapsed_ns >= self._next_ns:
            self._next_ns = progress.elapsed_ns + _FEEDBACK_NS
            self._goal.publish_feedback(feedback_message(**asdict(progress)))
