"""``mola run``: what it asks of the policy, what it says afterwards, and its exit code."""

import argparse
import contextlib
import json
from types import SimpleNamespace
from typing import Any, Self

import pytest
from builtin_interfaces.msg import Duration
from mola_interfaces.action import RunPolicy

from mola_core.contracts.errors import ConfigError, MolaError
from mola_nodes import environment
from mola_nodes.demo import operator_client
from mola_nodes.policy import command

DONE = RunPolicy.Result(success=True, reason="done", duration=Duration(sec=7, nanosec=250_000_000), chunks_sent=214)
LATE = RunPolicy.Result(success=False, reason="not done within 60 s", duration=Duration(sec=60), chunks_sent=1800)


class FakeOperator:
    """Runs what it is asked to; ``interrupt`` is what a person does meanwhile."""

    def __init__(self, result: RunPolicy.Result, *, interrupt: bool = False) -> None:
        self._result = result
        self._interrupt = interrupt
        self.asked: list[tuple[str, float]] = []
        self.cancelled = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to leave."""

    def run(self, instruction: str, *, time_limit_s: float) -> SimpleNamespace:
        self.asked.append((instruction, time_limit_s))
        return SimpleNamespace(result=self._wait, cancel=self._cancel)

    def _wait(self) -> RunPolicy.Result:
        if self._interrupt and not self.cancelled:
            raise KeyboardInterrupt
        return self._result

    def _cancel(self) -> None:
        self.cancelled += 1


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.register(parser.add_subparsers())
    return parser.parse_args(["run", "grab the bowl", *words])


@pytest.fixture
def graph_of(monkeypatch: pytest.MonkeyPatch) -> Any:
    def use(operator: FakeOperator) -> FakeOperator:
        monkeypatch.setattr(environment, "join_graph", lambda: None)
        monkeypatch.setattr(operator_client, "OperatorClient", lambda *, name: contextlib.nullcontext(operator))
        return operator

    return use


@pytest.mark.parametrize(("result", "code", "how"), [(DONE, 0, "done: done after 7.2 s"), (LATE, 1, "ended: not done")])
def test_the_instruction_is_run_and_its_end_told(
    graph_of: Any, capsys: pytest.CaptureFixture[str], result: RunPolicy.Result, code: int, how: str
) -> None:
    operator = graph_of(FakeOperator(result))
    assert command.run(parsed("--time-limit", "45")) == code
    assert operator.asked == [("grab the bowl", 45.0)]
    said = capsys.readouterr().out
    assert said.startswith(how)
    assert said.rstrip().endswith(f"{result.chunks_sent} chunk messages")


def test_the_document_names_messages_as_such(graph_of: Any, capsys: pytest.CaptureFixture[str]) -> None:
    graph_of(FakeOperator(LATE))
    assert command.run(parsed("--json")) == 1
    assert json.loads(capsys.readouterr().out)["figures"] == {
        "instruction": "grab the bowl",
        "success": False,
        "reason": "not done within 60 s",
        "duration_s": 60.0,
        "chunk_messages": 1800,
    }


def test_an_interrupt_brings_the_arm_to_rest_and_waits_for_the_end(graph_of: Any) -> None:
    operator = graph_of(FakeOperator(LATE, interrupt=True))
    assert command.run(parsed()) == 1
    assert operator.cancelled == 1


def test_a_refusal_is_passed_on(graph_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    operator = graph_of(FakeOperator(DONE))

    def refuse(instruction: str, *, time_limit_s: float) -> None:
        raise MolaError(f"the policy refuses the instruction {instruction!r} ({time_limit_s:g} s)")

    monkeypatch.setattr(operator, "run", refuse)
    with pytest.raises(MolaError, match="refuses the instruction 'grab the bowl'"):
        command.run(parsed())


@pytest.mark.parametrize("seconds", ["0.5", "3601", "nan"])
def test_a_time_limit_out_of_range_is_refused_before_anything_is_joined(seconds: str) -> None:
    with pytest.raises(ConfigError, match=rf"--time-limit {seconds} must be within 1 \.\. 3600 s"):
        command.run(parsed("--time-limit", seconds))
