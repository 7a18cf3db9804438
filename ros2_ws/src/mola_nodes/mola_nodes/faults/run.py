"""Puts every fault into the running graph while the arm moves, and measures what the arm does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S, Clock, SystemClock
from mola_core.contracts.errors import MolaError
from mola_nodes.demo.operator_client import PolicyRun
from mola_nodes.faults.braking import ArmTrace, Stop, measure_stop
from mola_nodes.faults.cases import FaultBench, FaultCase
from mola_nodes.faults.servo_watch import ServoWatch
from mola_nodes.running_twin import RunningTwin
from mola_twin.fault_client import FaultClient
from mola_twin.world_client import WorldClient

MOVING = 0.25
"""rad/s: the fault is injected while the fastest joint is at least this fast."""
_WATCH_S = 2.0
"""How long the arm is watched after the fault; nobody has resumed meanwhile."""
_TASK = "bottle_in_bin"
_RUN_LIMIT_S = 60.0
_RECOVERY_S = 60.0
_ATTEMPTS = 4


@dataclass(frozen=True, slots=True)
class FaultResult:
    """One row of the table."""

    name: str
    limit_ms: float
    reaction_ms: float | None
    """Fault to braking: the servo process left EXECUTING, or the robot program stopped, whichever was first."""
    how: str
    """Which of the two, and the reason given."""
    arm_slows_ms: float
    """Fault to the measured joints slowing; the arm's own lag included."""
    rest_ms: float
    speed_at_fault: float
    """rad/s, fastest joint."""
    moved_after_rest: float
    """rad, until the operator resumed."""
    recovered_s: float | None
    """From asking for recovery to the arm moving under policy again; None: it did not, see ``problem``."""
    problem: str

    @property
    def passed(self) -> bool:
        """In time, at rest until resumed, and back at work."""
        return (
            self.reaction_ms is not None
            and self.reaction_ms <= self.limit_ms
            and self.moved_after_rest < 1e-3
            and self.recovered_s is not None
        )


def run_faults(
    cases: Sequence[FaultCase], *, twin: RunningTwin, say: Callable[[str], None], clock: Clock | None = None
) -> list[FaultResult]:
    """One result per case, on a graph that is up and resumed. A case that cannot be measured is a result that says so."""
    table = _Table(twin=twin, clock=clock or SystemClock())
    results = []
    for case in cases:
        say(f"{case.name} …")
        result = table.measure(case)
        results.append(result)
        reaction = "never" if result.reaction_ms is None else f"after {result.reaction_ms:.0f} ms"
        say(f"{case.name}: braked {reaction}, at rest after {result.rest_ms:.0f} ms {result.problem}")
    return results


class _Table:
    def __init__(self, *, twin: RunningTwin, clock: Clock) -> None:
        self._twin = twin
        self._clock = clock

    def measure(self, case: FaultCase) -> FaultResult:
        with FaultClient(self._twin.host) as faults:
            run = self._set_in_motion(faults)
            watch = ServoWatch(controller_pid=self._twin.supervisor.pid("controller"), clock=self._clock)
            with watch:
                bench = FaultBench(twin=self._twin, faults=faults, servo_pid=watch.pid)
                fault_ns = self._clock.now_ns()
                case.inject(bench)
                self._sleep(_WATCH_S)
                braking = watch.braking
            stop, program_ms = self._read_stop(faults, fault_ns=fault_ns)
            servo_ms = None if braking is None else max(0.0, (braking.stamp_ns - fault_ns) / NS_PER_MS)
            reaction_ms, how = _reaction(
                servo_ms=servo_ms, program_ms=program_ms, reason=braking.reason if braking else ""
            )
            recovered_s, problem = self._recover(case, bench=bench, run=run)
        return FaultResult(
            name=case.name,
            limit_ms=case.limit_ms,
            reaction_ms=reaction_ms,
            how=how,
            arm_slows_ms=stop.onset_ms,
            rest_ms=stop.rest_ms,
            speed_at_fault=stop.speed_at_fault,
            moved_after_rest=stop.moved_after_rest,
            recovered_s=recovered_s,
            problem=problem,
        )

    def _set_in_motion(self, faults: FaultClient) -> PolicyRun:
        """Start the task until the arm moves. Tried again: a node that came back may not be discovered yet."""
        for _ in range(_ATTEMPTS - 1):
            try:
                return self._start_task(faults)
            except MolaError:
                self._twin.operator.wait_active(timeout_s=_RECOVERY_S)
                self._twin.operator.resume(timeout_s=_RECOVERY_S)
        return self._start_task(faults)

    def _start_task(self, faults: FaultClient) -> PolicyRun:
        with WorldClient(self._twin.host) as world:
            start = world.reset(task=_TASK, seed=0)
        run = self._twin.operator.run(start.instruction, time_limit_s=_RUN_LIMIT_S)
        self._twin.operator.wait_for(
            lambda: run.done or max(abs(v) for v in faults.status().joint_velocities) >= MOVING,
            "the arm to move under policy",
            timeout_s=20.0,
        )
        if run.done:
            raise MolaError(f"the policy ended before the arm moved: {run.result().reason}")
        return run

    def _read_stop(self, faults: FaultClient, *, fault_ns: int) -> tuple[Stop, float | None]:
        record = faults.trace(_WATCH_S + 1.0)
        stop = measure_stop(
            ArmTrace(
                stamps_ns=record.stamps_ns,
                joint_velocities=record.joint_velocities,
                program_running=record.program_running,
            ),
            fault_ns=fault_ns,
        )
        return stop, stop.program_stopped_ms

    def _recover(self, case: FaultCase, *, bench: FaultBench, run: PolicyRun) -> tuple[float | None, str]:
        begin_ns = self._clock.monotonic_ns()
        operator = self._twin.operator
        try:
            case.mend(bench)
            self._end(run)
            operator.wait_active(timeout_s=_RECOVERY_S)
            operator.resume(timeout_s=_RECOVERY_S)
            again = self._set_in_motion(bench.faults)
            seconds = (self._clock.monotonic_ns() - begin_ns) / NS_PER_S
            again.cancel()
            again.result()
        except MolaError as error:
            return None, f"not recovered: {error}"
        return seconds, ""

    def _end(self, run: PolicyRun) -> None:
        """A run whose policy was killed never ends; the others end by themselves or when cancelled."""
        if not run.done:
            run.abandon()

    def _sleep(self, seconds: float) -> None:
        self._clock.sleep_until(self._clock.monotonic_ns() + round(seconds * NS_PER_S))


def _reaction(*, servo_ms: float | None, program_ms: float | None, reason: str) -> tuple[float | None, str]:
    """Whichever came first."""
    if servo_ms is not None and (program_ms is None or servo_ms <= program_ms):
        return servo_ms, f"servo braked: {reason}"
    if program_ms is not None:
        return program_ms, "robot program stopped"
    return None, "neither braked nor stopped"
