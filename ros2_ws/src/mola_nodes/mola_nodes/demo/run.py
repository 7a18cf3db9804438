"""The demo: bring everything up, do every task once, show what happened."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mola_core.contracts.clock import NS_PER_S, SystemClock
from mola_core.contracts.errors import ConfigError
from mola_nodes.demo.episodes import EpisodeResult, episode_result
from mola_nodes.demo.filming import CameraFilm
from mola_nodes.running_twin import DEFAULT_HOST, RunningTwin
from mola_twin.tasks.instructions import TASKS
from mola_twin.world_client import WorldClient

ROLES = ("third_person", "wrist")
MAX_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What ``mola demo`` was asked for."""

    out: Path
    tasks: Sequence[str]
    seed: int = 0
    host: str = DEFAULT_HOST


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo leaves behind."""

    episodes: tuple[EpisodeResult, ...]
    bring_up_s: float
    video: Path
    log: Path


def chosen_tasks(names: Sequence[str]) -> tuple[str, ...]:
    """The tasks meant by ``names``; all of them by none.

    Raises:
        ConfigError: an unknown task.
    """
    unknown = [name for name in names if name not in TASKS]
    if unknown:
        raise ConfigError(f"task {unknown[0]!r} is not known; choose from {', '.join(TASKS)}")
    return tuple(names) or tuple(TASKS)


def run_demo(options: DemoOptions, *, say: Callable[[str], None]) -> DemoResult:
    """Run every task of ``options`` once, in real time, on a graph of its own; ``say`` is told what happens.

    Raises:
        MolaError: the graph does not come up or stops answering; the log file named there has the details.
    """
    clock = SystemClock()
    begin_ns = clock.monotonic_ns()
    log, video = options.out / "graph.log", options.out / "demo.mp4"
    say("bringing up the twin and the graph")
    with RunningTwin(log_path=log, host=options.host) as twin:
        bring_up_s = (clock.monotonic_ns() - begin_ns) / NS_PER_S
        say(f"the graph is up after {bring_up_s:.1f} s")
        with (
            WorldClient(options.host) as world,
            CameraFilm(video, operator=twin.operator, roles=ROLES) as film,
        ):
            episodes = tuple(
                _task(twin, world=world, film=film, task=task, seed=options.seed, say=say) for task in options.tasks
            )
        say("taking the graph down")
    return DemoResult(episodes=episodes, bring_up_s=bring_up_s, video=video, log=log)


def _task(
    twin: RunningTwin, *, world: WorldClient, film: CameraFilm, task: str, seed: int, say: Callable[[str], None]
) -> EpisodeResult:
    """The task, tried again where the machine was too busy and the arm stopped for safety: the operator resumes it."""
    for attempt in range(1, MAX_ATTEMPTS + 1):
        result = _episode(twin, world=world, film=film, task=task, seed=seed, attempt=attempt, say=say)
        if result.success or not result.stopped_for_safety:
            break
    return result


def _episode(
    twin: RunningTwin,
    *,
    world: WorldClient,
    film: CameraFilm,
    task: str,
    seed: int,
    attempt: int,
    say: Callable[[str], None],
) -> EpisodeResult:
    start = world.reset(task=task, seed=seed)
    film.caption = start.instruction
    say(f"{task}: {start.instruction!r}")
    operator = twin.operator
    operator.resume()  # the operator stands by: a stop in one episode does not cost the next ones
    first_status, first_report = len(operator.servo_statuses), len(operator.latency_reports)
    outcome = operator.run(start.instruction, time_limit_s=TASKS[task].time_limit_s).result()
    result = episode_result(
        task=task,
        attempt=attempt,
        instruction=start.instruction,
        outcome=outcome,
        statuses=operator.servo_statuses[first_status:],
        reports=operator.latency_reports[first_report:],
    )
    say(f"{task}: {'done' if result.success else 'failed: ' + result.reason} in {result.duration_s:.1f} s")
    return result
