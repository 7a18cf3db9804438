"""The learned policy on the whole graph, real engines with random weights: it acts, is swapped while it acts, refuses the broken."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mola_interfaces.msg import CommandedState, LatentActions
from ros_bundles import make_random_bundle
from ros_rig import write_twin_site

from mola_core.contracts.errors import MolaError
from mola_nodes import graph
from mola_nodes.bundles.client import BundleClient
from mola_nodes.running_twin import RunningTwin
from mola_twin.world_client import WorldClient

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

HOST = "127.0.1.53"
OLD, NEW = "old/1", "new/1"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sound bundles, and one with a changed byte."""
    root, scratch = tmp_path_factory.mktemp("models"), tmp_path_factory.mktemp("drafts")
    for seed, name in enumerate(("old", "new")):
        make_random_bundle(root, name=name, seed=seed, scratch=scratch)
    shutil.copytree(root / "old", root / "damaged")
    victim = root / "damaged" / "1" / "onnx" / "actor.onnx"
    victim.chmod(0o644)
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    return root


@pytest.fixture(scope="module", params=["false", "true"], ids=["two processes", "one process"])
def twin(
    models: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningTwin]:
    folder = tmp_path_factory.mktemp("graph")
    site = write_twin_site(folder / "site.yaml", host=HOST)
    arguments = {
        "site": str(site),
        "policy": "mola",
        "models": str(models),
        "bundle": OLD,
        "composed": request.param,
    }
    with RunningTwin(log_path=folder / "graph.log", host=HOST, arguments=arguments) as running:
        yield running


def test_it_acts_is_swapped_while_it_acts_and_taken_back(twin: RunningTwin) -> None:
    operator = twin.operator
    answers: list[LatentActions] = []
    commanded: list[CommandedState] = []
    operator.subscribe(graph.LATENT_ACTIONS, answers.append)
    operator.subscribe(graph.COMMANDED, commanded.append)
    client = BundleClient(operator)
    client.wait_serving(OLD)
    with WorldClient(HOST) as world:
        start = world.reset(task="press_button", seed=0)
    operator.resume()
    goal = operator.run(start.instruction, time_limit_s=300.0)
    operator.wait_for(lambda: len(answers) > 2, "the first answers", timeout_s=60.0)
    assert {answer.bundle_id for answer in answers} == {OLD}
    assert list(answers[-1].modalities) == ["semantic", "depth", "flow"]
    assert all(answers[-1].enabled)
    client.load(NEW)
    client.promote(NEW)
    operator.wait_for(lambda: answers[-1].bundle_id == NEW, "an answer of the new bundle", timeout_s=60.0)
    assert {state.source for state in commanded if state.source} == {"mola"}
    assert client.rollback("it was only tried") == OLD
    operator.wait_for(lambda: answers[-1].bundle_id == OLD, "an answer of the old bundle", timeout_s=60.0)
    assert not goal.done, goal.result().reason if goal.done else ""
    goal.cancel()
    assert goal.result().reason == "cancelled"


def test_what_does_not_serve_is_let_go_and_would_be_loaded_anew(twin: RunningTwin) -> None:
    client = BundleClient(twin.operator)
    client.wait_serving(OLD)
    client.unload()  # whatever has been loaded before
    client.load(NEW)
    assert client.unload() == (NEW,)
    with pytest.raises(MolaError, match=f"bundle {NEW} is not staged"):
        client.promote(NEW)
    with pytest.raises(MolaError, match="no previous bundle"):
        client.rollback("")
    assert client.unload() == ()


def test_what_is_broken_or_absent_is_refused_with_the_reason(twin: RunningTwin) -> None:
    client = BundleClient(twin.operator)
    client.wait_serving(OLD)
    listed = {bundle.bundle_id: bundle.problem for bundle in client.bundles()}
    assert listed[NEW] == ""
    assert "says that it is bundle old/1" in listed["damaged/1"] or "SHA-256" in listed["damaged/1"]
    for bundle_id, reason in (("damaged/1", "damaged"), ("gone/1", "there is no bundle 'gone/1'"), (OLD, "in service")):
        with pytest.raises(MolaError, match=reason):
            client.load(bundle_id)
    time.sleep(0.5)
    assert client.status is not None
    assert client.status.active_bundle == OLD
