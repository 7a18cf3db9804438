"""The demo: bring everything up, do every task once, show what happened."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mola_core.contracts.clock import NS_PER_S, SystemClock
from mola_core.contracts.errors import ConfigError, MolaError
from mola_core.contracts.site import load_site
from mola_nodes.demo.episodes import EpisodeResult, episode_result
from mola_nodes.demo.filming import CameraFilm
from mola_nodes.demo.homing import Homing
from mola_nodes.demo.judge import TwinJudge
from mola_nodes.demo.learned import LearnedDemo, bundles_to_show
from mola_nodes.demo.pace import paced_twin
from mola_nodes.demo.store import fresh_store
from mola_nodes.running_twin import DEFAULT_HOST, RunningTwin
from mola_twin.tasks.instructions import TASKS
from mola_twin.world_client import WorldClient, WorldStart

ROLES = ("third_person", "wrist")
MAX_ATTEMPTS = 3
ATTEMPTS_IN_TIME = 2
SCRIPTED, MOLA = "scripted", "mola"


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What ``mola demo`` was asked for."""

    out: Path
    tasks: Sequence[str]
    seed: int
    host: str = DEFAULT_HOST
    fps: int | None = None
    """Of the cameras; None: the site's, or fewer where the machine does not keep up with that."""
    policy: str = MOLA
    models: Path = Path("models")
    bundles: tuple[str, ...] = ()
    """Of the learned policy: the one that serves, and one that takes over in the middle of a task."""


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo leaves behind."""

    policy: str
    episodes: tuple[EpisodeResult, ...]
    bring_up_s: float
    video: Path
    log: Path
    recordings: Path | None


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
    learned = _learned_demo(options, say=say)
    say("bringing up the twin and the graph")
    arguments = {} if learned is None else learned.launch_arguments
    with paced_twin(log_path=log, host=options.host, fps=options.fps, arguments=arguments, say=say) as twin:
        bring_up_s = (clock.monotonic_ns() - begin_ns) / NS_PER_S
        say(f"the graph is up after {bring_up_s:.1f} s")
        with (
            WorldClient(options.host) as world,
            CameraFilm(video, operator=twin.operator, roles=ROLES, imagined=learned is not None) as film,
        ):
            if learned is not None:
                learned.begin(twin.operator)
            homing = Homing(load_site(twin.site), operator=twin.operator)
            stage = _Stage(twin, world, film, homing, learned, options, say)
            episodes = tuple(stage.task(task, number) for number, task in enumerate(options.tasks))
        say("taking the graph down")
    recordings = None if learned is None else learned.store
    return DemoResult(options.policy, episodes, bring_up_s, video, log, recordings)


def _learned_demo(options: DemoOptions, *, say: Callable[[str], None]) -> LearnedDemo | None:
    if options.policy == SCRIPTED:
        return None
    bundles = options.bundles or bundles_to_show(options.models)
    return LearnedDemo(models=options.models, bundles=bundles, store=fresh_store(options.out / "episodes"), say=say)


@dataclass(frozen=True)
class _Stage:
    """Everything that a task is played with."""

    twin: RunningTwin
    world: WorldClient
    film: CameraFilm
    homing: Homing
    learned: LearnedDemo | None
    options: DemoOptions
    say: Callable[[str], None]

    def task(self, task: str, number: int) -> EpisodeResult:
        """The task, tried again where the arm stopped for safety (it hit something, the machine was busy): it is resumed.

        A learned policy is also asked once more where it did not get there in time, as a person would.
        """
        patience = 1 if self.learned is None else ATTEMPTS_IN_TIME
        for attempt in range(1, MAX_ATTEMPTS + 1):
            result = self._episode(task, attempt=attempt, swap=number == 0)
            if result.success or (not result.stopped_for_safety and attempt >= patience):
                break
        return result

    def _episode(self, task: str, *, attempt: int, swap: bool) -> EpisodeResult:
        start = self._set_up(task)
        self.film.caption = start.instruction
        self.say(f"{task}: {start.instruction!r}")
        operator = self.twin.operator
        operator.resume()  # the operator stands by: a stop in one episode does not cost the next ones
        first_status, first_report = len(operator.servo_statuses), len(operator.latency_reports)
        with self._surroundings(start.instruction, task=task, swap=swap):
            outcome = operator.run(start.instruction, time_limit_s=TASKS[task].time_limit_s).result()
        result = episode_result(
            task=task,
            attempt=attempt,
            instruction=start.instruction,
            outcome=outcome,
            statuses=operator.servo_statuses[first_status:],
            reports=operator.latency_reports[first_report:],
            swap_gap_ms=None if self.learned is None else self.learned.last_gap_ms,
        )
        if self.learned is not None:
            self.learned.keep(success=result.success)
        self.say(f"{task}: {'done' if result.success else 'failed: ' + result.reason} in {result.duration_s:.1f} s")
        return result

    def _set_up(self, task: str) -> WorldStart:
        """The scene anew. A learned policy begins at home, as its demonstrations did; a scripted one where nothing is in the way."""
        if self.learned is not None:
            self._go_home()
        try:
            return self.world.reset(task=task, seed=self.options.seed)
        except MolaError as error:
            self.say(f"{error}")
            self._go_home()
            return self.world.reset(task=task, seed=self.options.seed)

    def _go_home(self) -> None:
        self.film.caption = "the operator brings the arm home"
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                self.homing.go()
            except MolaError as error:
                if attempt == MAX_ATTEMPTS:
                    raise
                self.say(f"on the way home: {error}; once more")
            else:
                break

    @contextlib.contextmanager
    def _surroundings(self, instruction: str, *, task: str, swap: bool) -> Iterator[None]:
        """For a learned policy: a judge who calls the task done, a recording, and once a hot swap."""
        if self.learned is None:
            yield
            return
        operator = self.twin.operator
        self.learned.record(instruction, task=f"{task}:{self.options.seed}")
        with TwinJudge(host=self.options.host, operator=operator), self.learned.swapping(wanted=swap):
            yield
