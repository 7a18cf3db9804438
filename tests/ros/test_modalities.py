"""Modalities switched off and on: whichever actor answers next is told, however many take turns."""

from contextlib import ExitStack
from typing import Any

import pytest
from rclpy.parameter import Parameter

from mola_core.contracts.errors import ConfigError
from mola_nodes.policy.modalities import ALL, PARAMETER, ModalitySwitch, chosen

KNOWN = ("semantic", "depth", "flow")


class FakeNode:
    """Hands parameters to whoever listens."""

    def __init__(self) -> None:
        self._on_set: Any = None

    def add_on_set_parameters_callback(self, on_set: Any) -> None:
        self._on_set = on_set

    def remove_on_set_parameters_callback(self, _on_set: Any) -> None:
        self._on_set = None

    def set(self, modalities: str) -> Any:
        return self._on_set([Parameter(PARAMETER, value=modalities)])


class FakeActor:
    """As real ones do, keeps what it was told last; all are enabled at first."""

    modalities = KNOWN

    def __init__(self) -> None:
        self.enabled = frozenset(KNOWN)

    def enable(self, modalities: frozenset[str]) -> None:
        self.enabled = modalities


def test_every_actor_that_answers_is_told_what_is_set_now() -> None:
    node, serving, staged = FakeNode(), FakeActor(), FakeActor()
    with ExitStack() as stack:
        switch = ModalitySwitch(node, known=lambda: KNOWN, initial=ALL, stack=stack)  # type: ignore[arg-type]

        def answer(*actors: FakeActor) -> list[frozenset[str]]:
            for actor in actors:
                switch.apply(actor)  # type: ignore[arg-type]
            return [actor.enabled for actor in actors]

        assert node.set("depth").successful
        assert answer(serving, staged) == [{"depth"}] * 2
        assert node.set("all").successful
        assert answer(serving, staged) == [set(KNOWN)] * 2
        assert node.set("none").successful
        assert answer(serving) == [frozenset()]
        assert node.set("all").successful
        assert answer(staged, serving) == [set(KNOWN)] * 2, "back on reaches the one that was told of off, too"


def test_what_the_model_does_not_have_is_refused_and_changes_nothing() -> None:
    node, actor = FakeNode(), FakeActor()
    with ExitStack() as stack:
        switch = ModalitySwitch(node, known=lambda: KNOWN, initial="depth", stack=stack)  # type: ignore[arg-type]
        refused = node.set("depth,smell")
        assert not refused.successful
        assert "smell is not of this model; it has semantic, depth, flow" in refused.reason
        switch.apply(actor)  # type: ignore[arg-type]
        assert actor.enabled == {"depth"}
    with pytest.raises(ConfigError, match="touch is not of this model"):
        chosen("touch", known=KNOWN)
