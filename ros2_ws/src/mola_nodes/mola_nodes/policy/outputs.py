"""All that the learned policy says on the graph."""

import itertools
from contextlib import ExitStack
from typing import Any

from std_msgs.msg import Empty, String

from mola_core.contracts.types import ActionChunk
from mola_core.runtime.divergence import Divergence, DivergenceGuard
from mola_core.runtime.policy import PolicyAnswer
from mola_nodes import graph
from mola_nodes.conversions.foresight import latent_actions_message, policy_health_message
from mola_nodes.conversions.motion import message_from_chunk
from mola_nodes.diagnostics import diagnostic_array, inputs_diagnostic
from mola_nodes.lifecycle import MolaNode
from mola_nodes.policy.learned import ActorHalf
from mola_nodes.policy.modalities import ModalitySwitch


class PolicyOutputs:
    """Publishers that live as long as the stack."""

    def __init__(self, node: MolaNode[Any], *, modalities: ModalitySwitch, stack: ExitStack) -> None:
        self._clock = node.system_clock
        self._modalities = modalities
        self._answers = itertools.count()
        self._chunks = node.open_publisher(graph.ACTION_CHUNK, stack)
        self._instruction = node.open_publisher(graph.INSTRUCTION, stack)
        self._wanted = node.open_publisher(graph.FORESIGHT_WANTED, stack)
        self._latents = node.open_publisher(graph.LATENT_ACTIONS, stack)
        self._health = node.open_publisher(graph.POLICY_HEALTH, stack)
        self._diagnostics = node.open_publisher(graph.DIAGNOSTICS, stack)

    def send(self, chunk: ActionChunk) -> None:
        """To the arm."""
        self._chunks.publish(message_from_chunk(chunk))

    def announce(self, instruction: str) -> None:
        """To the imagination; empty when nothing is wanted any more."""
        self._instruction.publish(String(data=instruction))

    def ask(self) -> None:
        """To the imagination: an answer is due."""
        self._wanted.publish(Empty())

    def show_answer(self, half: ActorHalf, answer: PolicyAnswer) -> None:
        """Its latent actions and codes."""
        enabled = self._modalities.enabled(half.actor)
        self._latents.publish(
            latent_actions_message(answer, bundle_id=half.bundle_id, sequence=next(self._answers), enabled=enabled)
        )

    def show_divergence(self, bundle_id: str, divergence: Divergence, guard: DivergenceGuard) -> None:
        """How imagination and world agree."""
        self._health.publish(policy_health_message(bundle_id, divergence, guard))

    def diagnose(self, missing: str, *, busy: bool) -> None:
        """Whether all inputs arrive."""
        status = inputs_diagnostic(missing, busy=busy)
        self._diagnostics.publish(diagnostic_array(status, stamp_ns=self._clock.now_ns()))
