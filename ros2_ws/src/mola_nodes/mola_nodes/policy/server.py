"""The action behind which every policy runs: one goal at a time, in a thread of its own, ended before its node goes."""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict

from mola_interfaces.action import RunPolicy
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.task import Future

from mola_core.contracts.clock import NS_PER_S
from mola_core.contracts.errors import ConfigError
from mola_nodes import graph
from mola_nodes.conversions.policy import feedback_message, result_message, time_limit_ns
from mola_nodes.lifecycle import MolaNode
from mola_nodes.policy.rollout import Progress, Rollout

_FINISH_S = 3.0
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
        threading.Thread(target=lambda: ended.set_result(self._run(goal)), name="rollout", daemon=True).start()
        return await ended

    def _run(self, goal: ServerGoalHandle) -> RunPolicy.Result:
        results: list[RunPolicy.Result] = []

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
            results.append(
                result_message(**asdict(end), elapsed_ns=rollout.elapsed_ns, chunks_sent=rollout.chunks_sent)
            )

        with self._busy:
            self._run_goal(goal.request.instruction, drive)
        return results[0]

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
