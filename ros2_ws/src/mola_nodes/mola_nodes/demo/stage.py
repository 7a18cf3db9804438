"""One task of a demo after the other: the scene set up, the policy run, as often as a person would try."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from mola_interfaces.msg import LatencyReport

from mola_core.contracts.errors import MolaError
from mola_nodes.demo.episodes import EpisodeResult, Heard, episode_result
from mola_nodes.demo.filming import CameraFilm
from mola_nodes.demo.homing import Homing
from mola_nodes.demo.judge import TwinJudge
from mola_nodes.demo.learned import LearnedDemo
from mola_nodes.demo.options import DemoOptions
from mola_nodes.plan_tally import PlanTally
from mola_nodes.running_twin import RunningTwin
from mola_twin.tasks.instructions import TASKS
from mola_twin.world_client import WorldClient, WorldStart

MAX_ATTEMPTS = 3
ATTEMPTS_IN_TIME = 2


@dataclass(frozen=True)
class Stage:
    """Everything that a task is played with."""

    twin: RunningTwin
    world: WorldClient
    film: CameraFilm
    homing: Homing
    plans: PlanTally
    learned: LearnedDemo | None
    options: DemoOptions
    say: Callable[[str], None]
    reports: list[LatencyReport] = field(default_factory=list)
    """Those of all attempts."""

    def task(self, task: str) -> EpisodeResult:
        """The task, tried again where the arm stopped for safety (it hit something, the machine was busy): it is resumed.

        A learned policy is also asked once more where it did not get there in time, as a person would.
        """
        patience = 1 if self.learned is None else ATTEMPTS_IN_TIME
        swap_gap_ms = None
        for attempt in range(1, MAX_ATTEMPTS + 1):
            result = self._episode(task, attempt=attempt)
            swap_gap_ms = result.swap_gap_ms if swap_gap_ms is None else swap_gap_ms
            if result.success or (not result.stopped_for_safety and attempt >= patience):
                break
        return replace(result, swap_gap_ms=swap_gap_ms)

    def _episode(self, task: str, *, attempt: int) -> EpisodeResult:
        start = self._set_up(task)
        self.film.caption = start.instruction
        self.say(f"{task}: {start.instruction!r}")
        operator = self.twin.operator
        operator.resume()  # the operator stands by: a stop in one episode does not cost the next ones
        first_status, first_report = len(operator.servo_statuses), len(operator.latency_reports)
        plans_before = self.plans.plans
        with self._surroundings(start.instruction, task=task):
            outcome = operator.run(start.instruction, time_limit_s=TASKS[task].time_limit_s).result()
        heard = Heard(
            statuses=operator.servo_statuses[first_status:],
            reports=operator.latency_reports[first_report:],
            plans=self.plans.plans - plans_before,
        )
        self.reports.extend(heard.reports)
        result = episode_result(
            task=task,
            attempt=attempt,
            instruction=start.instruction,
            outcome=outcome,
            heard=heard,
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
        self.homing.go()

    @contextlib.contextmanager
    def _surroundings(self, instruction: str, *, task: str) -> Iterator[None]:
        """For a learned policy: a judge who calls the task done, a recording, and once a hot swap."""
        if self.learned is None:
            yield
            return
        operator = self.twin.operator
        self.learned.record(instruction, task=f"{task}:{self.options.seed}")
        with TwinJudge(host=self.options.host, operator=operator), self.learned.swapping():
            yield
