"""Bundles that go wrong on the whole graph while the arm moves: each is refused or taken out, and the old one serves on."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from mola_interfaces.msg import LatentActions
from ros_bundles import copy_bundle, make_random_bundle, restate_views, trap
from ros_rig import write_twin_site

from mola_core.contracts.errors import MolaError
from mola_nodes import graph
from mola_nodes.bundles.client import BundleClient
from mola_nodes.demo.operator_client import OperatorClient, PolicyRun
from mola_nodes.running_twin import RunningTwin
from mola_twin.world_client import WorldClient

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

HOST = "127.0.1.55"
OLD = "old/1"
NOT_FINITE, SLOW, SOUND = "nan/1", "slow/1", "sound/1"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    make_random_bundle(root, name="old", seed=0, scratch=tmp_path_factory.mktemp("drafts"))
    copy_bundle(root, OLD, "sound")
    trap(copy_bundle(root, OLD, "nan"), "not finite")
    trap(copy_bundle(root, OLD, "slow"), "slow")
    restate_views(copy_bundle(root, OLD, "elsewhere"), "ceiling")
    shutil.copytree(root / "sound", root / "changed")
    victim = root / "changed" / "1" / "onnx" / "video.onnx"
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    return root


@dataclass
class Acting:
    """The arm moves under the old bundle's policy."""

    operator: OperatorClient
    client: BundleClient
    goal: PolicyRun
    answers: list[str] = field(default_factory=list)

    def note(self, message: LatentActions) -> None:
        self.answers.append(message.bundle_id)

    def goes_on(self) -> bool:
        """Another three answers of the old bundle."""
        del self.answers[:]
        self.operator.wait_for(lambda: self.answers.count(OLD) > 2, f"answers of {OLD}", timeout_s=60.0)
        return not self.goal.done

    @property
    def reason(self) -> str:
        return "" if self.client.status is None else str(self.client.status.reason)

    @property
    def stops(self) -> int:
        status = self.operator.servo_status
        assert status is not None
        return int(status.stops)


@pytest.fixture(scope="module")
def twin(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningTwin]:
    folder = tmp_path_factory.mktemp("graph")
    site = write_twin_site(folder / "site.yaml", host=HOST)
    arguments = {"site": str(site), "policy": "mola", "models": str(models), "bundle": OLD}
    with RunningTwin(log_path=folder / "graph.log", host=HOST, arguments=arguments) as running:
        yield running


@pytest.fixture
def acting(twin: RunningTwin) -> Iterator[Acting]:
    client = BundleClient(twin.operator)
    client.wait_serving(OLD)
    with WorldClient(HOST) as world:
        start = world.reset(task="press_button", seed=0)
    twin.operator.resume()
    goal = twin.operator.run(start.instruction, time_limit_s=300.0)
    acting = Acting(twin.operator, client, goal)
    twin.operator.subscribe(graph.LATENT_ACTIONS, acting.note)
    assert acting.goes_on()
    yield acting
    acting.goal.abandon()
    with contextlib.suppress(MolaError):  # a server that began anew may owe the result
        twin.operator.wait_for(lambda: acting.goal.done, "the end of the run", timeout_s=10.0)


@pytest.mark.parametrize(
    ("bundle_id", "reason"),
    [("changed/1", "SHA-256|says that it is"), ("elsewhere/1", "looks through ceiling"), ("absent/1", "no bundle")],
)
def test_what_is_damaged_foreign_or_absent_is_refused(acting: Acting, bundle_id: str, reason: str) -> None:
    stops = acting.stops
    with pytest.raises(MolaError, match=reason):
        acting.client.load(bundle_id)
    assert acting.goes_on()
    assert acting.stops == stops


@pytest.mark.parametrize(
    ("bundle_id", "reason"), [(NOT_FINITE, "nan|not finite"), (SLOW, r"took \d+ ms, more than|not back after \d+ ms")]
)
def test_what_is_sound_until_it_acts_is_taken_out_again(acting: Acting, bundle_id: str, reason: str) -> None:
    stops = acting.stops
    with contextlib.suppress(MolaError):  # its shadow, or the halves, were quicker than anybody who looks
        acting.client.load(bundle_id)
        acting.client.promote(bundle_id, timeout_s=10.0)
    acting.operator.wait_for(lambda: bool(re.search(reason, acting.reason)), "the reason", timeout_s=60.0)
    acting.client.wait_serving(OLD)
    assert acting.goes_on()
    assert acting.stops == stops


def test_what_ends_its_process_is_not_given_another(twin: RunningTwin, acting: Acting) -> None:
    acting.client.load(SOUND)
    acting.client.promote(SOUND)
    os.kill(_pid_of_policy(), signal.SIGSEGV)
    acting.operator.wait_for(lambda: "process ended while sound/1 served" in acting.reason, "rollback", timeout_s=60.0)
    twin.operator.wait_active(timeout_s=60.0)
    acting.client.wait_serving(OLD)
    acting.goal.abandon()
    twin.operator.resume()
    acting.goal = twin.operator.run("press the button", time_limit_s=60.0)
    assert acting.goes_on()


def _pid_of_policy() -> int:
    """Of the policy node of our graph: its parameters name our site."""
    found = subprocess.run(["pgrep", "-f", "mola_nodes/policy_node"], capture_output=True, text=True, check=True)
    parents = {os.getpid(), os.getppid()}
    mine = [int(pid) for pid in found.stdout.split() if _is_ours(int(pid), parents)]
    assert len(mine) == 1, mine
    return mine[0]


def _is_ours(pid: int, ancestors: set[int]) -> bool:
    while pid > 1:
        if pid in ancestors:
            return True
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
        pid = int(status.rpartition(")")[2].split()[1])
    return False
