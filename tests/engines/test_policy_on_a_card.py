"""A whole bundle on a card that puts everything off: its halves answer as on the CPU, whoever waits for whom."""

from pathlib import Path

import fake_plan
import numpy as np
import pytest
from fake_cuda import GREATEST, LEAST, FakeCuda, install

from mola_core.runtime import bundle_policy, stages
from mola_core.runtime.bundle_policy import BundlePolicy, OpenOptions, open_bundle_policy
from mola_core.runtime.engines.cuda_tensor import CudaTensor
from mola_core.runtime.engines.loading import EngineSource, load_engine
from mola_core.runtime.engines.protocol import Engine, EngineError
from mola_core.runtime.foresight import Observed
from mola_core.runtime.tensors import finish

STATE = np.array([0.1, -1.8, 1.7, -1.4, -1.5, -0.3, -0.4, 0.05, 0.3, 2.2, 2.2, 0.1, 0.8])


def observed(seed: int) -> Observed:
    rng = np.random.default_rng(seed)
    views = {name: rng.integers(0, 256, (16, 32, 3), dtype=np.uint8) for name in ("third_person", "wrist")}
    return Observed(stamp_ns=seed, views=views, instruction="open the drawer")


@pytest.fixture(scope="module")
def on_cpu(bundle: Path) -> BundlePolicy:
    return open_bundle_policy(bundle, OpenOptions(threads=1))


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    return install(monkeypatch)


@pytest.fixture
def plans(cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, fake_plan.FakePlan]:
    """From here on what a bundle loads is a plan on the card; by stage."""
    plans: dict[str, fake_plan.FakePlan] = {}

    def load(runtime: str, source: EngineSource) -> Engine:
        plan = plans[source.name] = fake_plan.plan_of(load_engine(runtime, source), cuda)
        return fake_plan.load(monkeypatch, tmp_path, plan, name=source.name, background=source.background)

    monkeypatch.setattr(bundle_policy, "load_engine", load)
    return plans


@pytest.fixture
def policy(bundle: Path, plans: dict[str, fake_plan.FakePlan]) -> BundlePolicy:
    return open_bundle_policy(bundle, OpenOptions(threads=1))


def test_a_foresight_stays_as_it_is_while_the_next_ones_are_imagined(policy, on_cpu) -> None:
    foresights = [policy.imagination.imagine(observed(seed), noise_seed=seed) for seed in range(3)]
    finish(foresights[-1].tensors)
    for seed, foresight in enumerate(foresights):
        theirs = on_cpu.imagination.imagine(observed(seed), noise_seed=seed)
        answer = policy.actor.act(foresight, state=STATE, noise_seed=seed)
        expected = on_cpu.actor.act(theirs, state=STATE, noise_seed=seed)
        np.testing.assert_array_equal(answer.targets, expected.targets)
        for name, latents in expected.latents.items():
            np.testing.assert_array_equal(answer.latents[name], latents)
        pictures, others = policy.preview(foresight), on_cpu.preview(theirs)
        for camera, frames in others.items():
            np.testing.assert_array_equal(pictures[camera], frames)


def test_latent_actions_and_pictures_stay_as_they_are(policy) -> None:
    foresights = [policy.imagination.imagine(observed(seed), noise_seed=seed) for seed in range(2)]
    answer, pictures = policy.actor.act(foresights[0], state=STATE, noise_seed=0), policy.preview(foresights[0])
    latents = {name: values.copy() for name, values in answer.latents.items()}
    frames = {camera: values.copy() for camera, values in pictures.items()}
    policy.actor.act(foresights[1], state=STATE, noise_seed=1)
    policy.preview(foresights[1])
    for name, values in latents.items():
        np.testing.assert_array_equal(answer.latents[name], values)
    for camera, values in frames.items():
        np.testing.assert_array_equal(pictures[camera], values)


def test_imagining_ends_when_the_card_is_done_and_holds_its_thread_once(policy, cuda) -> None:
    waits = cuda.host_waits
    foresight = policy.imagination.imagine(observed(0), noise_seed=0)
    encoder, video = policy.imagination._encoder, policy.imagination._video
    for engine in (encoder, video):
        stream = cuda.streams[engine._stream.handle]
        assert stream.num_done == stream.num_enqueued
    pinned = 2
    """Each engine looks once whether it may fill its pinned memory."""
    assert cuda.host_waits - waits == pinned + len(video.outputs)
    assert all(isinstance(tensor, CudaTensor) for tensor in foresight.tensors.values())
    assert set(foresight.tensors) == {stages.FEATURES, stages.PRESENT}


@pytest.mark.parametrize("stage", ["encoder", "video"])
def test_a_card_that_fails_is_met_while_imagining(policy, plans, cuda, stage) -> None:
    compute = plans[stage].compute
    plans[stage].compute = lambda given: cuda.fail() or compute(given)
    with pytest.raises(EngineError, match="cudaErrorIllegalAddress"):
        policy.imagination.imagine(observed(0), noise_seed=0)


def test_pictures_come_last_on_the_card(policy, cuda) -> None:
    halves = policy.imagination
    engines = (halves._encoder, halves._video, policy.actor._engine, halves._preview)
    priorities = [cuda.streams[engine._stream.handle].priority for engine in engines]
    assert priorities == [GREATEST, GREATEST, GREATEST, LEAST]
