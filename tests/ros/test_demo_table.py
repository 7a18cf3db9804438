"""What the demo prints, and when it counts as passed."""

import argparse
import io
import re
from pathlib import Path

import pytest
from demo_results import demo, episode
from rich.console import Console

from mola_core.contracts.errors import ConfigError
from mola_nodes.demo import command
from mola_nodes.demo import run as demo_run
from mola_nodes.demo.options import DemoOptions
from mola_nodes.demo.run import Course, DemoResult, problems_of
from mola_nodes.demo.table import print_demo

FULL = demo(
    episode(task="bottle_in_bin", duration_s=16.0, ticks=8185, deadline_misses=1105, swap_gap_ms=47.6),
    episode(attempt=2, success=False, reason="not done within 15 s [limit]"),
    problems=("hot swap: bundle twin/8 is still being loaded",),
)


def printed(result: DemoResult) -> str:
    out = io.StringIO()
    print_demo(result, console=Console(file=out, width=80, highlight=False))
    return out.getvalue()


def test_the_table_names_answers_messages_hops_misses_and_the_swap_within_eighty_columns() -> None:
    text = printed(FULL)
    rows = [" ".join(re.sub("[│┃]", " ", line).split()) for line in text.splitlines() if re.search("[│┃]", line)]
    assert rows == [
        "cmd plan msg p50 p99 late swap",
        "task done try s /s /s /s ms ms ticks ms",
        "bottle_in_bin yes 1 16.0 500 15.0 31.0 105 185 1105 (13.5 %) 48",
        "press_button no 2 6.0 500 15.0 31.0 105 185 105 (3.5 %) -",
        "p50 of the p99 of the",
        "hop count median s worst s max",
        "camera to servo 400 104.6 185.3 212.0",
        "capture to camera node (third_person) 2700 8.2 21.9 40.1",
    ]
    assert "…" not in text, "nothing is cut short"


def test_what_went_wrong_is_said_word_for_word() -> None:
    lines = printed(FULL).splitlines()
    assert "press_button: not done within 15 s [limit]" in lines
    assert "hot swap: bundle twin/8 is still being loaded" in lines
    assert lines[-1] == "failed: 1 of 2 tasks done"
    assert printed(demo(episode())).splitlines()[-1] == "passed: 1 of 1 tasks done"


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (demo(episode()), 0),
        (demo(episode(), episode(success=False)), 1),
        (demo(episode(), problems=("hot swap: it did not happen",)), 1),
        (demo(tasks=("press_button",)), 1),  # ended before the first task was
        (demo(episode(), tasks=("press_button", "grab_bowl")), 1),
    ],
)
@pytest.mark.parametrize("json", [[], ["--json"]])
def test_the_exit_code_says_whether_everything_asked_for_happened(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    result: DemoResult,
    code: int,
    json: list[str],
) -> None:
    monkeypatch.setattr(demo_run, "run_demo", lambda _options, **_: result)
    assert command.run(parsed(*json)) == code
    out = capsys.readouterr().out
    assert ('"succeeded": true' in out if json else "passed: " in out) == (code == 0)


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.register(parser.add_subparsers())
    return parser.parse_args(["demo", *words])


def test_the_command_line_becomes_options() -> None:
    options = command.options_of(
        parsed("--task", "grab_bowl", "--bundle", "twin/7", "--bundle", "twin/8", "--fps", "15")
    )
    assert options.tasks == ("grab_bowl",)
    assert options.bundles == ("twin/7", "twin/8")
    assert (options.time_limit_s, options.fps, options.policy) == (600.0, 15, "mola")


@pytest.mark.parametrize("seconds", ["149", "3601", "nan"])
def test_a_time_limit_in_which_nothing_can_be_shown_is_refused(seconds: str) -> None:
    with pytest.raises(ConfigError, match=r"--time-limit \S+ must be 150\.\.3600 s"):
        command.options_of(parsed("--time-limit", seconds))


def test_a_demo_whose_time_is_over_names_what_is_missing() -> None:
    options = DemoOptions(out=Path("out"), tasks=("grab_bowl", "press_button", "stack_blocks"), seed=0)
    course = Course(episodes=[episode(task="grab_bowl")], swap_problem="no run was long enough")
    assert problems_of(options, course) == (
        "ended after 510 s, to be down within --time-limit 600; tasks without a result: press_button, stack_blocks",
        "hot swap: no run was long enough",
    )
    assert problems_of(options, Course(episodes=[], ended=True)) == ()
