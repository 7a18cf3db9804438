"""A policy whose runs raise, for tests of the action server; a process of its own."""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from mola_core.contracts.errors import DeviceError
from mola_nodes import graph
from mola_nodes.lifecycle import MolaNode
from mola_nodes.policy.rollout import Rollout
from mola_nodes.policy.server import PolicyServer
from mola_nodes.process import Ending, run_node


@dataclass(frozen=True)
class NoParams:
    """None."""


class BrokenPolicyNode(MolaNode[NoParams]):
    """Says of itself what is wrong with it: ``a device`` or anything else, which is a bug."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(graph.POLICY, params_type=NoParams, ending=ending)

    def activate(self, stack: ExitStack) -> None:
        PolicyServer(self, check=lambda _instruction: None, run_goal=self._run_goal, stack=stack)

    def _run_goal(self, instruction: str, _drive: Callable[[Rollout], None]) -> None:
        if instruction == "a device":
            raise DeviceError("the twin's world does not answer; start it")
        raise ValueError(instruction)


if __name__ == "__main__":
    sys.exit(run_node(BrokenPolicyNode))
