"""Starts are a pure function of (task, seed, variant), free of overlaps, and each variant changes what it says it changes."""

import json
from dataclasses import asdict
from itertools import combinations

import numpy as np
import pytest

from mola_core.contracts.errors import ConfigError
from mola_twin.cell import layout
from mola_twin.cell.physics import JUDGE_EVERY, ArmCommand, PhysicsCell
from mola_twin.tasks.instructions import TASKS
from mola_twin.tasks.placement import RADIUS
from mola_twin.tasks.start import sample_start
from mola_twin.tasks.success import PREDICATES
from mola_twin.tasks.truth import Truth
from mola_twin.tasks.variants import VARIANTS


@pytest.mark.parametrize("variant", VARIANTS)
def test_same_arguments_give_the_same_start(variant: str) -> None:
    assert repr(sample_start(task="stack_blocks", seed=9, variant=variant)) == repr(
        sample_start(task="stack_blocks", seed=9, variant=variant)
    )


def test_seeds_differ() -> None:
    starts = {repr(sample_start(task="grab_bowl", seed=seed).placement) for seed in range(50)}
    assert len(starts) == 50


def test_all_tasks_of_a_seed_share_the_scene() -> None:
    placements = [sample_start(task=task, seed=7).placement for task in TASKS]
    assert all(placement == placements[0] for placement in placements)
    assert len({sample_start(task=task, seed=7).instruction for task in TASKS}) == len(TASKS)


@pytest.mark.parametrize("variant", ["id", "distractors"])
def test_objects_stand_clear_of_each_other(variant: str) -> None:
    for seed in range(60):
        poses = sample_start(task="grab_bowl", seed=seed, variant=variant).placement.poses
        for (one, first), (other, second) in combinations(
            [(name, pose) for name, pose in poses.items() if name in RADIUS], 2
        ):
            gap = float(np.hypot(first.x - second.x, first.y - second.y)) - RADIUS[one] - RADIUS[other]
            assert gap > 0.03, f"seed {seed}: {one} and {other} are {gap:.3f} m apart"


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'fly'.*bottle_in_bin, grab_bowl, stack_blocks, open_drawer, press_button"):
        sample_start(task="fly", seed=0)
    with pytest.raises(ConfigError, match=r"'fog'.*id, distractors, lighting, camera, phrasing, colour"):
        sample_start(task="grab_bowl", seed=0, variant="fog")
    with pytest.raises(ConfigError, match="seed -1"):
        sample_start(task="grab_bowl", seed=-1)


def test_variants_change_one_thing_each() -> None:
    for seed in range(10):
        starts = {variant: sample_start(task="stack_blocks", seed=seed, variant=variant) for variant in VARIANTS}
        plain = starts.pop("id")
        assert {name: starts["distractors"].placement.poses[name] for name in plain.placement.poses} == (
            plain.placement.poses
        )
        assert len(starts["distractors"].placement.distractors) >= 2
        assert starts["lighting"].appearance.light != plain.appearance.light
        assert set(starts["camera"].appearance.camera_offsets) == set(layout.CAMERA_POSES)
        assert starts["colour"].appearance.colours
        assert set(starts["colour"].appearance.block_names).isdisjoint(plain.appearance.block_names)
        for variant in ("lighting", "camera", "phrasing", "colour"):
            assert starts[variant].placement == plain.placement


def test_held_out_phrasings_are_never_trained_on() -> None:
    for name, spec in TASKS.items():
        assert len(spec.train) >= 4
        assert len(spec.held_out) >= 3
        assert set(spec.train).isdisjoint(spec.held_out)
        names = {"top": "red", "bottom": "blue"}
        trained = {spec.phrase(index=index, held_out=False, names=names) for index in range(20)}
        for seed in range(20):
            assert sample_start(task=name, seed=seed, variant="phrasing").instruction not in trained


def test_stacking_names_the_colours_it_means() -> None:
    for variant in ("id", "colour"):
        start = sample_start(task="stack_blocks", seed=3, variant=variant)
        words = dict(zip(layout.BLOCKS, start.appearance.block_names, strict=True))
        assert start.stack_top != start.stack_bottom
        assert words[start.stack_top] in start.instruction
        assert words[start.stack_bottom] in start.instruction


@pytest.mark.parametrize("task", TASKS)
def test_nothing_is_done_at_the_start(task: str) -> None:
    cell = PhysicsCell()
    for seed in range(10):
        cell.reset(sample_start(task=task, seed=seed))
        assert not PREDICATES[task].judge(cell.truth(stamp_ns=0)).met
        assert not cell.success().done


@pytest.mark.parametrize("task", TASKS)
def test_verdicts_are_plain_json(task: str) -> None:
    cell = PhysicsCell()
    cell.reset(sample_start(task=task, seed=0))
    for _ in range(JUDGE_EVERY):
        cell.step(ArmCommand(np.array(layout.HOME_JOINTS), np.zeros(6)))
    verdict = json.loads(json.dumps(asdict(cell.success())))
    assert verdict["task"] == task
    assert verdict["conditions"]


def test_truth_survives_the_wire() -> None:
    cell = PhysicsCell()
    truth = cell.truth(stamp_ns=123)
    again = Truth.from_json(truth.to_json())
    assert again.to_json() == truth.to_json()
    assert again.objects["bottle"].position.shape == (3,)
