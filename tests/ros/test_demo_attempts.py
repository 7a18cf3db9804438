"""How often the demo tries a task."""

from typing import Any

import pytest
from demo_results import episode

from mola_nodes.demo.episodes import EpisodeResult
from mola_nodes.demo.stage import Stage

DONE, LATE, STOPPED = "done", "late", "stopped"


def outcome(name: str, *, attempt: int, swap_gap_ms: float | None = None) -> EpisodeResult:
    return episode(
        attempt=attempt,
        success=name == DONE,
        stopped_for_safety=name == STOPPED,
        reason=name,
        swap_gap_ms=swap_gap_ms,
    )


def stage_of(*, learned: bool) -> Stage:
    nothing: Any = None
    policy: Any = object() if learned else None
    return Stage(
        twin=nothing,
        world=nothing,
        film=nothing,
        homing=nothing,
        plans=nothing,
        learned=policy,
        options=nothing,
        say=nothing,
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
    def run(_stage: Stage, _task: str, *, attempt: int) -> EpisodeResult:
        return outcome(outcomes[attempt - 1], attempt=attempt)

    monkeypatch.setattr(Stage, "_episode", run)
    result = stage_of(learned=learned).task("press_button")
    assert result.attempt == tries
    assert result.reason == outcomes[tries - 1]


def test_a_swap_in_an_attempt_that_failed_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(_stage: Stage, _task: str, *, attempt: int) -> EpisodeResult:
        gap_ms = 48.0 if attempt == 1 else None
        return outcome(LATE if attempt == 1 else DONE, attempt=attempt, swap_gap_ms=gap_ms)

    monkeypatch.setattr(Stage, "_episode", run)
    result = stage_of(learned=True).task("press_button")
    assert (result.attempt, result.success, result.swap_gap_ms) == (2, True, 48.0)
