"""What a demo of the learned policy has beside a scripted one: bundles, a recording, and a hot swap in the middle of a task."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from mola_interfaces.srv import EpisodeControl

from mola_core.contracts.bundle import MANIFEST
from mola_core.contracts.errors import ConfigError, MolaError
from mola_nodes import graph
from mola_nodes.bundles.client import BundleClient
from mola_nodes.demo.operator_client import OperatorClient

_SWAP_AFTER_S = 1.5
_GAP_S = 3.0
_OPERATOR = "demo"


def bundles_to_show(models: Path) -> tuple[str, ...]:
    """The newest version in ``models``; where there is one before it, that serves at first and the newest takes over.

    Raises:
        ConfigError: no bundle is there.
    """
    found = sorted(models.glob(f"*/*/{MANIFEST}"), key=_age)
    if not found:
        raise ConfigError(
            f"{models} holds no bundle; make one (mola export, mola bundle make), or name another --models"
        )
    name = found[-1].parent.parent.name
    return tuple(f"{name}/{path.parent.name}" for path in found if path.parent.parent.name == name)[-2:]


def _age(manifest: Path) -> tuple[int, str]:
    """Versions in order: numbers as numbers, other words before them."""
    version = manifest.parent.name
    return (int(version) if version.isdecimal() else -1, version)


class LearnedDemo:
    """Belongs to the demo's thread; a swap runs in a thread beside the run that it happens in."""

    def __init__(self, *, models: Path, bundles: tuple[str, ...], store: Path, say: Callable[[str], None]) -> None:
        """``bundles``: the one that serves and, if there is to be a swap, the one that takes over.

        Raises:
            ConfigError: none was named.
        """
        if not 1 <= len(bundles) <= 2:
            raise ConfigError(f"a demo of the learned policy needs one or two bundles, got {len(bundles)}")
        self._models = models
        self._bundles = bundles
        self.store = store
        self._say = say
        self._operator: OperatorClient | None = None
        self._swap_is_due = len(bundles) == 2
        self._against_swap: list[str] = []
        """What went wrong with it so far."""
        self.last_gap_ms: float | None = None
        """Of the swap in the last episode; None where there was none."""
        self.num_kept = 0
        """Episodes recorded."""

    @property
    def launch_arguments(self) -> dict[str, str]:
        """For ``twin.launch.xml``."""
        return {
            "policy": "mola",
            "models": str(self._models.resolve()),
            "bundle": self._bundles[0],
            "record": "true",
            "store": str(self.store.resolve()),
            "operator": _OPERATOR,
        }

    def begin(self, operator: OperatorClient) -> None:
        """Wait until the first bundle serves, and stage the second."""
        self._operator = operator
        self._client = BundleClient(operator)
        self._client.wait_serving(self._bundles[0])
        self._say(f"{self._bundles[0]} serves")
        if len(self._bundles) == 2:
            self._client.load(self._bundles[1])
            self._say(f"{self._bundles[1]} is staged")

    def record(self, instruction: str, *, task: str) -> None:
        """Start an episode."""
        request = EpisodeControl.Request(
            command=EpisodeControl.Request.START, instruction=instruction, task=task, operator_name=_OPERATOR
        )
        self._control(request)

    def keep(self, *, success: bool) -> None:
        """End the episode and keep it with its outcome."""
        outcome = EpisodeControl.Request.SUCCESS if success else EpisodeControl.Request.FAILURE
        self.num_kept += self._control(EpisodeControl.Request(command=EpisodeControl.Request.KEEP, outcome=outcome))

    @contextlib.contextmanager
    def swapping(self) -> Iterator[None]:
        """While inside, the second bundle takes over, if there is one and it has not taken over before."""
        self.last_gap_ms = None
        if not self._swap_is_due:
            yield
            return
        left = threading.Event()
        thread = threading.Thread(target=self._swap, args=(left,), name="swap", daemon=True)
        thread.start()
        try:
            yield
        finally:
            left.set()
            thread.join()

    def _swap(self, left: threading.Event) -> None:
        if left.wait(_SWAP_AFTER_S):
            return
        new = self._bundles[1]
        try:
            self._client.promote(new)
        except MolaError as error:  # asked for once more in the next run
            self._note_problem(str(error))
            return
        self._swap_is_due = False
        try:
            gap_ms = self._client.wait_gap(timeout_s=_GAP_S)
        except MolaError as error:
            self._note_problem(f"{new} serves, but no answer of it was seen in the middle of a task: {error}")
            return
        self.last_gap_ms, self._against_swap = gap_ms, []
        self._say(f"hot swap: {new} took over, {gap_ms:.0f} ms beyond the usual cadence")

    def _note_problem(self, problem: str) -> None:
        self._against_swap.append(problem)
        self._say(f"hot swap: {problem}")

    @property
    def swap_problem(self) -> str:
        """Why the swap that was asked for did not happen, or did not last; empty where it did, and where none was asked for."""
        if self._against_swap:
            return "; then: ".join(self._against_swap)
        if self._swap_is_due:
            return f"no run lasted the {_SWAP_AFTER_S:g} s after which {self._bundles[1]} takes over"
        status = self._client.status
        if len(self._bundles) < 2 or status is None or status.active_bundle == self._bundles[1]:
            return ""
        why = f": {status.reason}" if status.reason else ""
        return f"{self._bundles[1]} took over and did not stay, {status.active_bundle or 'nothing'} serves{why}"

    def _control(self, request: EpisodeControl.Request) -> bool:
        assert self._operator is not None  # noqa: S101  # begin() comes first
        answer = self._operator.call(graph.EPISODE_CONTROL, request, timeout_s=30.0)
        if not answer.success:
            self._say(f"not recorded: {answer.message}")
        return bool(answer.success)
