"""A sitting of demonstrations on the twin: the real teleoperation path, the real recorder, an expert's hand on the stick.

For every task and seed the scene is set up, an episode is started, the scripted expert does the task through the teleoperation
node, and the episode is kept with its outcome. The recorder may be killed once in the middle of an episode, which is then recovered.
Reported: what was kept, what was lost on the way, and how the recorder's memory grew.
"""

import argparse
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mola_core.contracts.errors import ConfigError, MolaError
from mola_nodes.bench.processes import resident_mib

if TYPE_CHECKING:
    from mola_interfaces.msg import EpisodeStatus, NodeHeartbeat

    from mola_nodes.demo.operator_client import OperatorClient
    from mola_twin.world_client import WorldClient

_OPERATOR = "expert"
_MAX_TASK_S = 90.0
_KILL_AFTER_S = 3.0
_PAUSE_S = 0.5
_HOME_S = 12.0


@dataclass(frozen=True, slots=True)
class SittingEpisode:
    """One demonstration."""

    task: str
    seed: int
    episode_id: str
    outcome: str
    """success, failure, or recovered."""
    length_s: float
    messages: int
    lost: int | None
    """Messages that the recorder missed, as it counted; None where it was killed, and its count with it."""
    recorder_mib: float
    """Resident memory of the recorder when the episode ended."""


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``mola bench sitting``."""
    parser = subparsers.add_parser(
        "sitting", help="demonstrations through teleoperation and recorder: kept, lost, memory"
    )
    parser.add_argument("--count", type=int, default=10, help="demonstrations a task (default: %(default)s)")
    parser.add_argument("--task", action="append", default=[], metavar="NAME", help="only this task; may be repeated")
    parser.add_argument("--seed", type=int, default=0, help="first seed (default: %(default)s)")
    parser.add_argument("--kill", action="store_true", help="kill the recorder in the middle of the second episode")
    parser.add_argument(
        "--stop-within-ms", type=float, default=150.0, help="from letting go to rest; bounds the speed (default: 150)"
    )
    parser.add_argument("--store", type=Path, default=Path("runs") / "sitting", help="where (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.2", help="loopback address of the twin (default: %(default)s)")
    parser.add_argument("--site", type=Path, default=None, help="site file of a twin (default: the shipped one)")
    parser.add_argument("--json", action="store_true", help="one document instead of a table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Hold the sitting; 0 when every episode was kept as a success, or recovered where the recorder was killed."""
    from rich.console import Console  # noqa: PLC0415 - help must not pay for these

    from mola_core.cli.report import measurement_report, print_json  # noqa: PLC0415
    from mola_twin.tasks.instructions import TASKS  # noqa: PLC0415

    unknown = sorted(set(args.task) - set(TASKS))
    if unknown:
        raise ConfigError(f"task {unknown[0]!r} is not known; choose from {', '.join(TASKS)}")
    if not 1 <= args.count <= 1000 or args.seed < 0:
        raise ConfigError(f"--count {args.count} must be 1..1000 and --seed {args.seed} not negative")
    console = Console(stderr=True, highlight=False)
    plan = [(task, args.seed + number) for task in args.task or TASKS for number in range(args.count)]
    episodes = []
    with _sitting(args) as sitting:
        for number, (task, seed) in enumerate(plan):
            episode = sitting.killed(task, seed) if args.kill and number == 1 else sitting.demonstration(task, seed)
            episodes.append(episode)
            console.print(
                f"  {number + 1}/{len(plan)} {task} {seed}: {episode.outcome}, {episode.length_s:.1f} s, lost {_told(episode.lost)}"
            )
    if args.json:
        print_json(measurement_report("bench sitting", {"store": args.store, "episodes": episodes}))
    else:
        print_sitting(episodes, store=args.store)
    return 0 if all(episode.outcome in {"success", "recovered"} for episode in episodes) else 1


@contextmanager
def _sitting(args: argparse.Namespace) -> Iterator["_Sitting"]:
    from mola_nodes.running_twin import RunningTwin  # noqa: PLC0415
    from mola_twin.world_client import WorldClient  # noqa: PLC0415

    arguments = {
        "policy": "none",
        "teleop": "expert",
        "record": "true",
        "store": str(args.store.resolve()),
        "operator": _OPERATOR,
        "stop_within_ms": str(args.stop_within_ms),
    }
    if args.site is not None:
        arguments["site"] = str(args.site)
    log = args.store.resolve().parent / f"{args.store.name}-graph.log"
    with RunningTwin(log_path=log, host=args.host, arguments=arguments) as twin, WorldClient(args.host) as world:
        yield _Sitting(twin.operator, world, store=args.store.resolve())


class _Sitting:
    """The operator of the sitting: sets up, starts, watches, keeps."""

    def __init__(self, operator: "OperatorClient", world: "WorldClient", *, store: Path) -> None:
        from mola_nodes import graph  # noqa: PLC0415

        self._operator = operator
        self._world = world
        self._store = store
        self._listeners: list[Callable[[EpisodeStatus], None]] = []
        self._recorder = f"{graph.NAMESPACE}/{graph.EPISODE_RECORDER}"
        self._recorder_pid = 0
        operator.subscribe(graph.EPISODE_STATUS, self._note)
        operator.subscribe(graph.NODE_HEARTBEATS, self._note_heartbeat)

    def _note(self, message: "EpisodeStatus") -> None:
        for listener in list(self._listeners):
            listener(message)

    def _note_heartbeat(self, message: "NodeHeartbeat") -> None:
        if message.node == self._recorder:
            self._recorder_pid = message.pid

    def demonstration(self, task: str, seed: int) -> SittingEpisode:
        """One episode from set-up to its outcome."""
        episode_id = self._begin(task, seed)
        done = self._watch(until_s=_MAX_TASK_S)
        time.sleep(_PAUSE_S)
        status = self._recorded()
        memory = resident_mib(self._recorder_pid)
        self._keep(success=done)
        self._wait_home()
        return SittingEpisode(
            task=task,
            seed=seed,
            episode_id=episode_id,
            outcome="success" if done else "failure",
            length_s=status.length.sec + status.length.nanosec * 1e-9,
            messages=status.messages,
            lost=status.dropped,
            recorder_mib=memory,
        )

    def killed(self, task: str, seed: int) -> SittingEpisode:
        """One episode whose recorder dies in the middle; recovered, and then the demonstration is given again."""
        from mola_core.data.episodes.meta import EpisodeError  # noqa: PLC0415
        from mola_core.data.episodes.recovery import recover, unfinished  # noqa: PLC0415
        from mola_core.data.episodes.summary import summarise  # noqa: PLC0415

        episode_id = self._begin(task, seed)
        self._watch(until_s=_KILL_AFTER_S)
        victim = self._recorder_pid
        os.kill(victim, signal.SIGKILL)
        self._operator.wait_for(lambda: not _is_alive(victim), "the end of the killed recorder", timeout_s=10.0)
        left = [folder for folder in unfinished(self._store) if episode_id in folder.name]
        if not left:
            raise MolaError(f"nothing is left of the killed episode {episode_id} in {self._store}")
        found = recover(self._store, left[0])
        try:
            summary = summarise(found.path)
        except EpisodeError as error:
            raise MolaError(f"the recovered episode {episode_id} cannot be read: {error}") from error
        self._operator.wait_active(timeout_s=60.0)
        self._watch(until_s=_MAX_TASK_S)
        self._wait_home()
        return SittingEpisode(
            task=task,
            seed=seed,
            episode_id=episode_id,
            outcome="recovered",
            length_s=summary.length_s,
            messages=found.messages,
            lost=None,
            recorder_mib=resident_mib(self._recorder_pid),
        )

    def _begin(self, task: str, seed: int) -> str:
        from mola_interfaces.srv import EpisodeControl  # noqa: PLC0415

        self._operator.resume()
        start = self._world.reset(task=task, seed=seed)
        request = EpisodeControl.Request(
            command=EpisodeControl.Request.START,
            instruction=start.instruction,
            task=f"{task}:{seed}",
            operator_name=_OPERATOR,
        )
        deadline = time.monotonic() + 30.0
        while True:  # the gate opens when every stream has its rate
            answer = self._control(request)
            if answer.success:
                return str(answer.episode_id)
            if time.monotonic() > deadline:
                raise MolaError(f"the recorder does not start: {answer.message}")
            time.sleep(0.5)

    def _watch(self, *, until_s: float) -> bool:
        """Whether the task was done in time; an arm that stopped for safety is resumed, as the operator would."""
        deadline = time.monotonic() + until_s
        while time.monotonic() < deadline:
            if self._world.success().done:
                return True
            self._operator.resume()
            time.sleep(0.1)
        return False

    def _recorded(self) -> "EpisodeStatus":
        """What the recorder says after now."""
        heard: list[EpisodeStatus] = []
        self._listeners.append(heard.append)
        try:
            self._operator.wait_for(lambda: bool(heard), "the recorder's status", timeout_s=5.0)
        finally:
            self._listeners.clear()
        return heard[-1]

    def _keep(self, *, success: bool) -> None:
        from mola_interfaces.srv import EpisodeControl  # noqa: PLC0415

        outcome = EpisodeControl.Request.SUCCESS if success else EpisodeControl.Request.FAILURE
        answer = self._control(EpisodeControl.Request(command=EpisodeControl.Request.KEEP, outcome=outcome))
        if not answer.success:
            raise MolaError(f"the episode was not kept: {answer.message}")

    def _control(self, request: object) -> Any:
        from mola_nodes import graph  # noqa: PLC0415

        return self._operator.call(graph.EPISODE_CONTROL, request, timeout_s=30.0)

    def _wait_home(self) -> None:
        """The expert takes the arm home; the next scene is set up once it rests there."""
        from mola_interfaces.msg import ServoStatus  # noqa: PLC0415

        deadline, resting = time.monotonic() + _HOME_S, 0
        time.sleep(2.0)  # it looks at its work first
        while time.monotonic() < deadline and resting < 5:
            status = self._operator.servo_status
            resting = resting + 1 if status is not None and status.state == ServoStatus.HOLDING else 0
            time.sleep(0.1)


def _is_alive(pid: int) -> bool:
    """Whether the process still holds anything; one that has only not been waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state not in {"Z", "X"}


def _told(lost: int | None) -> str:
    return "?" if lost is None else str(lost)


def _lost_in(episodes: list[SittingEpisode]) -> str:
    """All that was counted, and a question mark where somebody who counted was killed."""
    counted = str(sum(episode.lost or 0 for episode in episodes))
    return f"{counted} + ?" if any(episode.lost is None for episode in episodes) else counted


def print_sitting(episodes: list[SittingEpisode], *, store: Path) -> None:
    """Print a row a task, and what the recorder's memory did."""
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(title="a sitting of demonstrations through teleoperation and recorder")
    for heading in ("task", "episodes", "success", "recovered", "seconds", "messages", "lost"):
        table.add_column(heading, justify="left" if heading == "task" else "right")
    for task in dict.fromkeys(episode.task for episode in episodes):
        rows = [episode for episode in episodes if episode.task == task]
        table.add_row(
            task,
            str(len(rows)),
            str(sum(row.outcome == "success" for row in rows)),
            str(sum(row.outcome == "recovered" for row in rows)),
            f"{sum(row.length_s for row in rows):.0f}",
            str(sum(row.messages for row in rows)),
            _lost_in(rows),
        )
    console = Console()
    console.print(table)
    if any(episode.lost is None for episode in episodes):
        console.print("lost ?: of an episode whose recorder was killed, and its count with it")
    console.print(
        f"recorder's memory: {episodes[0].recorder_mib:.0f} MiB after the first episode, {episodes[-1].recorder_mib:.0f} MiB "
        f"after the last; episodes in {store}",
        soft_wrap=True,
    )
