"""The demo: bring everything up, do every task once, show what happened."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mola_core.contracts.clock import NS_PER_S, SystemClock
from mola_core.contracts.site import load_site
from mola_nodes import graph
from mola_nodes.demo.alarm import Alarm, OverdueError
from mola_nodes.demo.episodes import EpisodeResult
from mola_nodes.demo.filming import CameraFilm
from mola_nodes.demo.homing import Homing
from mola_nodes.demo.hops import HopFigures, hops_of
from mola_nodes.demo.learned import LearnedDemo, bundles_to_show
from mola_nodes.demo.options import SCRIPTED, TAKING_DOWN_S, DemoOptions
from mola_nodes.demo.pace import paced_twin
from mola_nodes.demo.stage import Stage
from mola_nodes.demo.store import fresh_store
from mola_nodes.plan_tally import PlanTally
from mola_twin.world_client import WorldClient

ROLES = ("third_person", "wrist")


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo leaves behind."""

    policy: str
    tasks: tuple[str, ...]
    """All that were asked for."""
    episodes: tuple[EpisodeResult, ...]
    """Of those that have a result, the last attempt of each."""
    hops: tuple[HopFigures, ...]
    """Camera to servo, then its parts, over all attempts."""
    problems: tuple[str, ...]
    """What was asked for and did not happen, beside tasks that failed: a task not tried, a hot swap; why."""
    bring_up_s: float
    video: Path
    log: Path
    recordings: Path | None
    num_recorded: int

    @property
    def succeeded(self) -> bool:
        """Every task was done, and whatever else was asked for happened."""
        return self.num_done == len(self.tasks) and not self.problems

    @property
    def num_done(self) -> int:
        """Tasks."""
        return sum(episode.success for episode in self.episodes)


def run_demo(options: DemoOptions, *, say: Callable[[str], None]) -> DemoResult:
    """Run every task of ``options`` once, in real time, on a graph of its own; ``say`` is told what happens. Main thread only.

    When the time is over, it ends wherever it is, and what it has seen until then is the result.

    Raises:
        MolaError: the graph does not come up or stops answering; the log file named there has the details.
    """
    course = Course()
    learned = _learned_demo(options, say=say)
    try:
        with Alarm(after_s=options.time_limit_s - TAKING_DOWN_S) as alarm:
            _play(options, learned=learned, course=course, alarm=alarm, say=say)
    except OverdueError:
        say("the time is over")
    return DemoResult(
        policy=options.policy,
        tasks=tuple(options.tasks),
        episodes=tuple(course.episodes),
        hops=course.hops,
        problems=problems_of(options, course),
        bring_up_s=course.bring_up_s,
        video=options.video,
        log=options.log,
        recordings=None if learned is None else learned.store,
        num_recorded=0 if learned is None else learned.num_kept,
    )


@dataclass
class Course:
    """How far a demo has come; whole where ``ended`` is true."""

    bring_up_s: float = 0.0
    episodes: list[EpisodeResult] = field(default_factory=list)
    """The last attempt of each task so far."""
    hops: tuple[HopFigures, ...] = ()
    swap_problem: str = ""
    ended: bool = False


def problems_of(options: DemoOptions, course: Course) -> tuple[str, ...]:
    """What was asked for and did not happen, and why."""
    problems = [f"hot swap: {course.swap_problem}"] if course.swap_problem else []
    if not course.ended:
        left = ", ".join(options.tasks[len(course.episodes) :]) or "none"
        problems.insert(
            0,
            f"ended after {options.time_limit_s - TAKING_DOWN_S:g} s, to be down within --time-limit {options.time_limit_s:g}; "
            f"tasks without a result: {left}",
        )
    return tuple(problems)


def _play(
    options: DemoOptions, *, learned: LearnedDemo | None, course: Course, alarm: Alarm, say: Callable[[str], None]
) -> None:
    clock = SystemClock()
    begin_ns = clock.monotonic_ns()
    say("bringing up the twin and the graph")
    arguments = {} if learned is None else learned.launch_arguments
    with paced_twin(log_path=options.log, host=options.host, fps=options.fps, arguments=arguments, say=say) as twin:
        course.bring_up_s = (clock.monotonic_ns() - begin_ns) / NS_PER_S
        say(f"the graph is up after {course.bring_up_s:.1f} s")
        with (
            WorldClient(options.host) as world,
            CameraFilm(options.video, operator=twin.operator, roles=ROLES, imagined=learned is not None) as film,
        ):
            if learned is not None:
                learned.begin(twin.operator)
            stage = Stage(
                twin=twin,
                world=world,
                film=film,
                homing=Homing(load_site(twin.site), operator=twin.operator, say=say),
                plans=PlanTally(),
                learned=learned,
                options=options,
                say=say,
            )
            twin.operator.subscribe(graph.ACTION_CHUNK, stage.plans.note)
            try:
                for task in options.tasks:
                    course.episodes.append(stage.task(task))
            finally:
                course.hops = hops_of(stage.reports)
                course.swap_problem = "" if learned is None else learned.swap_problem
        alarm.call_off()
        course.ended = True
        say("taking the graph down")


def _learned_demo(options: DemoOptions, *, say: Callable[[str], None]) -> LearnedDemo | None:
    if options.policy == SCRIPTED:
        return None
    bundles = options.bundles or bundles_to_show(options.models)
    return LearnedDemo(models=options.models, bundles=bundles, store=fresh_store(options.out / "episodes"), say=say)
