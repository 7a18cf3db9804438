"""Results of demos that never were."""

from pathlib import Path
from typing import Any

from mola_nodes.demo.episodes import EpisodeResult
from mola_nodes.demo.hops import HopFigures
from mola_nodes.demo.run import DemoResult

PATH = HopFigures("camera to servo", count=400, p50_ms=104.6, p99_ms=185.3, max_ms=212.0)
PART = HopFigures("capture to camera node (third_person)", count=2700, p50_ms=8.2, p99_ms=21.9, max_ms=40.1)


def episode(**changes: Any) -> EpisodeResult:
    """One that went well, but for ``changes``."""
    values: dict[str, Any] = {
        "task": "press_button",
        "attempt": 1,
        "instruction": "press the button",
        "success": True,
        "stopped_for_safety": False,
        "reason": "done",
        "duration_s": 6.0,
        "command_rate_hz": 500.0,
        "plans": 90,
        "plan_rate_hz": 15.0,
        "messages": 186,
        "message_rate_hz": 31.0,
        "hops": (PATH, PART),
        "deadline_misses": 105,
        "ticks": 3000,
    }
    return EpisodeResult(**(values | changes))


def demo(*episodes: EpisodeResult, problems: tuple[str, ...] = (), tasks: tuple[str, ...] = ()) -> DemoResult:
    """A demo of these episodes, which are all that was asked for unless ``tasks`` says otherwise."""
    return DemoResult(
        policy="mola",
        tasks=tasks or tuple(episode.task for episode in episodes),
        episodes=episodes,
        hops=(PATH, PART),
        problems=problems,
        bring_up_s=12.0,
        video=Path("runs/demo/demo.mp4"),
        log=Path("runs/demo/graph.log"),
        recordings=Path("runs/demo/episodes"),
        num_recorded=len(episodes),
    )
