"""How often the demo tries a task."""

from typing import Any

import pytest

from mola_nodes.demo.episodes import EpisodeResult
from mola_nodes.demo.run import _Stage

DONE, LATE, STOPPED = "done", "late", "stopped"


def outcome(name: str, *, attempt: int) -> EpisodeResult:
    return EpisodeResult(
        task="press_button",
        attempt=attempt,
        instruction="press the button",
        success=name == DONE,
        stopped_for_safety=name == STOPPED,
        reason=name,
        duration_s=1.0,
        command_rate_hz=500.0,
        latency_p50_ms=None,
        latency_p99_ms=None,
        deadline_misses=0,
        ticks=500,
        chunk_rate_hz=10.0,
    )


@pytest.mark.parametrize(
    ("learned", "outcomes", "tries"),
    [
        (False, [DONE], 1),
        (False, [LATE, DONE], 1),
        (False, [STOPPED, STOPPED, STOPPED, DONE], 3),
        (True, [LATE, DONE], 2),
        (True, [LATE, LATE, DONE], 2),
        (True, [STOPPED, LATE, DONE], 2),
        (True, [STOPPED, STOPPED, LATE, DONE], 3),
    ],
)
def test_a_task_is_tried_again_for_good_reasons_only(
    monkeypatch: pytest.MonkeyPatch, learned: bool, outcomes: list[str], tries: int
) -> None:
    nothing: Any = None
    policy: Any = object() if learned else None
    stage = _Stage(
        twin=nothing, world=nothing, film=nothing, homing=nothing, learned=policy, options=nothing, say=nothing
    )

    def episode(_stage: _Stage, _task: str, *, attempt: int, swap: bool) -> EpisodeResult:
        assert swap
        return outcome(outcomes[attempt - 1], attempt=attempt)

    monkeypatch.setattr(_Stage, "_episode", episode)
    result = stage.task("press_button", 0)
    assert result.attempt == tries
    assert result.reason == outcomes[tries - 1]
