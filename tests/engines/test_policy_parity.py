"""The bundle's engines do what the checkpoint's modules do; both halves know whose they are and refuse what does not fit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mola_core.contracts.geometry import rotation_from_rotvec
from mola_core.export.exporting import Exportable
from mola_core.export.stages import StageOptions
from mola_core.export.torch_policy import torch_policy
from mola_core.nets.mola import build_mola
from mola_core.runtime import stages
from mola_core.runtime.bundle_policy import BundlePolicy, open_bundle_policy
from mola_core.runtime.engine_policy import Identity
from mola_core.runtime.foresight import Observed
from mola_core.runtime.policy import ComposedPolicy, PolicyObservation
from mola_core.runtime.tensors import RuntimeInputError, on_host

STATE = np.array([0.1, -1.8, 1.7, -1.4, -1.5, -0.3, -0.4, 0.05, 0.3, 2.2, 2.2, 0.1, 0.8])


def observation(*, seed: int = 0, instruction: str = "open the drawer") -> PolicyObservation:
    rng = np.random.default_rng(seed)
    views = {name: rng.integers(0, 256, (16, 32, 3), dtype=np.uint8) for name in ("third_person", "wrist")}
    return PolicyObservation(stamp_ns=7, views=views, state=STATE, instruction=instruction)


@pytest.fixture(scope="module")
def policy(bundle: Path) -> BundlePolicy:
    return open_bundle_policy(bundle)


@pytest.fixture(scope="module")
def by_torch(model: Exportable) -> ComposedPolicy:
    return torch_policy(
        model.mola,
        identity=Identity(bundle_id="micro/1", io_spec=model.io),
        normalization=model.normalization,
        language=model.language,
        options=StageOptions(),
    )


@pytest.mark.parametrize("seed", range(4))
def test_engines_act_as_torch_does(policy: BundlePolicy, by_torch: ComposedPolicy, seed: int) -> None:
    ours = policy.act(observation(seed=seed), noise_seed=seed)
    theirs = by_torch.act(observation(seed=seed), noise_seed=seed)
    np.testing.assert_allclose(ours.targets[:, :3], theirs.targets[:, :3], atol=1e-6)
    for mine, other in zip(ours.targets[:, 3:], theirs.targets[:, 3:], strict=True):
        np.testing.assert_allclose(rotation_from_rotvec(mine), rotation_from_rotvec(other), atol=1e-5)
    np.testing.assert_allclose(ours.openings, theirs.openings, atol=1e-5)
    assert ours.codes.keys() == {"semantic", "depth", "flow"}
    for name, codes in ours.codes.items():
        np.testing.assert_array_equal(codes, theirs.codes[name])
    assert ours.foresight is not None
    assert theirs.foresight is not None
    pictures, others = policy.preview(ours.foresight), by_torch.preview(theirs.foresight)
    for camera in ("third_person", "wrist"):
        assert pictures[camera].shape == (2, 16, 32, 3)
        assert np.abs(pictures[camera].astype(int) - others[camera].astype(int)).max() <= 1


def test_answers_follow_seed_sentence_and_picture(policy: BundlePolicy) -> None:
    first = policy.act(observation(), noise_seed=1).targets
    np.testing.assert_array_equal(first, policy.act(observation(), noise_seed=1).targets)
    assert not np.allclose(first, policy.act(observation(), noise_seed=2).targets, atol=1e-6)
    assert not np.allclose(first, policy.act(observation(seed=1), noise_seed=1).targets, atol=1e-6)
    other = policy.act(observation(instruction="press the button"), noise_seed=1).targets
    assert not np.allclose(first, other, atol=1e-7)
    again = policy.act(observation()).targets
    assert not np.allclose(again, policy.act(observation()).targets, atol=1e-6), "without a seed the noise goes on"


def test_a_modality_that_is_off_gives_zeros_and_changes_the_answer(policy: BundlePolicy) -> None:
    actor = policy.actor
    all_on = policy.act(observation(), noise_seed=1)
    actor.enable(frozenset({"semantic", "flow"}))
    without = policy.act(observation(), noise_seed=1)
    actor.enable(frozenset(actor.modalities))
    assert not without.latents["depth"].any()
    assert without.latents["flow"].any()
    assert not np.allclose(all_on.targets, without.targets, atol=1e-7)
    with pytest.raises(RuntimeInputError, match="modality colour is not of this model"):
        actor.enable(frozenset({"colour"}))


def test_settled_rows_come_back_as_they_were_and_engines_continue_them_as_torch_does(
    policy: BundlePolicy, by_torch: ComposedPolicy
) -> None:
    seen = observation()
    first = policy.act(seen, noise_seed=1)
    settled = np.column_stack([first.targets + 0.02, first.openings])[1:3]
    answer = policy.act(seen, noise_seed=9, settled=settled)
    np.testing.assert_allclose(answer.targets[:2, :3], settled[:, :3], atol=1e-6)
    np.testing.assert_allclose(answer.openings[:2], settled[:, 6], atol=1e-6)
    untold = policy.act(seen, noise_seed=9)
    assert np.abs(answer.targets[2:, :3] - untold.targets[2:, :3]).max() > 1e-5, "the others are another answer"
    theirs = by_torch.act(seen, noise_seed=9, settled=settled)
    np.testing.assert_allclose(answer.targets[:, :3], theirs.targets[:, :3], atol=1e-6)


def test_a_head_is_told_no_more_rows_than_it_was_shown(policy: BundlePolicy, by_torch: ComposedPolicy) -> None:
    assert policy.max_settled == by_torch.max_settled == 2
    for each in (policy, by_torch):
        with pytest.raises(
            RuntimeInputError, match=f"3 rows are settled; the head of {each.bundle_id} was shown 2 in training"
        ):
            each.act(observation(), settled=np.zeros((3, 7)))


def test_a_head_that_was_shown_no_settled_rows_is_told_of_none(model: Exportable) -> None:
    config = model.mola.config
    head = config.head.model_copy(update={"max_prefix": 0})
    policy = torch_policy(
        build_mola(config.model_copy(update={"head": head})),
        identity=Identity(bundle_id="micro/0", io_spec=model.io),
        normalization=model.normalization,
        language=model.language,
        options=StageOptions(),
    )
    assert policy.max_settled == 0
    assert stages.PREFIX_ACTIONS not in {spec.name for spec in policy.engines["actor"].inputs}
    with pytest.raises(RuntimeInputError, match="1 rows are settled; the head of micro/0 was shown none in training"):
        policy.act(observation(), settled=np.zeros((1, 7)))


def test_features_may_cross_a_process_in_half_precision(policy: BundlePolicy) -> None:
    first = policy.act(observation(), noise_seed=1)
    foresight = first.foresight
    assert foresight is not None
    halved = {name: on_host(tensor).astype(np.float16) for name, tensor in foresight.tensors.items()}
    answer = policy.actor.act(replace(foresight, tensors=halved), state=STATE, noise_seed=1)
    np.testing.assert_allclose(answer.targets[:, :3], first.targets[:, :3], atol=1e-4)


def test_a_foresight_of_another_bundle_is_refused(policy: BundlePolicy) -> None:
    foresight = policy.act(observation()).foresight
    assert foresight is not None
    with pytest.raises(RuntimeInputError, match="a foresight of bundle 'other/2' was given to bundle 'micro/1'"):
        policy.actor.act(replace(foresight, bundle_id="other/2"), state=STATE)
    with pytest.raises(RuntimeInputError, match="reads features, which the foresight does not hold"):
        policy.actor.act(replace(foresight, tensors={}), state=STATE)
    with pytest.raises(RuntimeInputError, match="other/2"):
        policy.preview(replace(foresight, bundle_id="other/2"))


def test_views_of_the_wrong_size_and_missing_cameras_are_refused(policy: BundlePolicy) -> None:
    seen = observation()
    small = {name: view[:, :16] for name, view in seen.views.items()}
    with pytest.raises(RuntimeInputError, match=r"\(16, 16, 3\) of uint8, the model takes \(16, 32, 3\)"):
        policy.imagination.imagine(Observed(1, small, "open the drawer"))
    with pytest.raises(RuntimeInputError, match="camera 'wrist' is missing; given: third_person"):
        policy.imagination.imagine(Observed(1, {"third_person": seen.views["third_person"]}, "open the drawer"))


def test_only_what_the_actor_reads_leaves_the_imagination(policy: BundlePolicy) -> None:
    foresight = policy.imagination.imagine(Observed(1, observation().views, "open the drawer"))
    assert set(foresight.tensors) == {stages.FEATURES, stages.PRESENT}
    assert foresight.offsets_ns == (0, 200_000_000)
    assert set(foresight.timings_ms) == {"encoder", "video"}


@pytest.mark.parametrize("control", ["imagined", "same", "noisy"])
def test_what_stands_for_the_future_can_be_replaced(model: Exportable, control: str) -> None:
    policy = torch_policy(
        model.mola,
        identity=Identity(bundle_id="micro/1", io_spec=model.io),
        normalization=model.normalization,
        language=model.language,
        options=StageOptions(control=control),
    )
    seen: list[tuple[torch.Tensor, ...]] = []
    assert model.mola.tokens is not None
    hook = model.mola.tokens.register_forward_pre_hook(lambda _module, given: seen.append(given))
    first, second = (policy.act(observation(), noise_seed=3).targets for _ in range(2))
    hook.remove()
    np.testing.assert_array_equal(first, second)
    now, future = seen[0]
    assert torch.equal(now, future) == (control == "same")
    if control == "noisy":
        assert float((future - now).std()) == pytest.approx(0.5 * float(now.std()), rel=0.2)
