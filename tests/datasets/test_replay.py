"""A recorded motion once more: the same commands at the same pace, from the same start, and never from elsewhere."""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from episode_bags import CONTRACT, START_NS, write_episode

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S
from mola_core.contracts.errors import ConfigError, MolaError
from mola_core.contracts.io_spec import ContractMismatchError, DataContract
from mola_core.contracts.rig import EpisodeStart, RigView, Verdict
from mola_core.contracts.site import Site
from mola_core.contracts.types import ActionSpace, RobotMode, RobotState, SafetyMode
from mola_core.data.conversion.convert import ConversionOptions, convert
from mola_core.data.episodes.meta import EpisodeError
from mola_core.data.errors import DataError
from mola_core.data.replay.chunks import APPROACH_SPEED, Approach, require_site, track_chunk
from mola_core.data.replay.track import Scene, Track, load_track, scene_of
from mola_core.evaluation.errors import EvaluationError
from mola_core.evaluation.replay import replay_lockstep

SITE = Path(__file__).resolve().parents[2] / "launch/sites/twin.yaml"
EPISODE = "20261126-120000-0001"
SCENE = Scene("press_button", 3)


def make_track(rows=20, **changes):
    targets = np.linspace(0, 0.2, rows)[:, None] + np.zeros(6)
    track = Track(
        name="episode 0 of somewhere",
        instruction="press the button",
        outcome="success",
        scene=SCENE,
        contract=CONTRACT,
        period_ns=100 * NS_PER_MS,
        space=ActionSpace.JOINT,
        targets=targets,
        openings=np.linspace(1, 0, rows),
        start_joints=np.zeros(6),
    )
    return replace(track, **changes)


# --- what is read ----------------------------------------------------------------------------------------------------


def test_an_episode_gives_what_its_servo_was_asked(tmp_path):
    path = write_episode(tmp_path, EPISODE, duration_ms=2000, motion_ms=(400, 1600), task="press_button:3")
    track = load_track(path, episode=None)
    assert (track.space, track.outcome, track.scene) == (ActionSpace.JOINT, "success", SCENE)
    assert track.contract == CONTRACT
    assert 1100 * NS_PER_MS <= track.duration_ns <= 1200 * NS_PER_MS
    assert track.targets[0, 0] == pytest.approx(0.41, abs=0.003)  # commanded at 400 ms
    steps = np.diff(track.targets[:, 0])
    np.testing.assert_allclose(steps, track.period_ns / NS_PER_S, atol=0.003)
    assert set(track.openings) == {0.0, 1.0}
    assert track.start_joints[0] == pytest.approx(0.4, abs=0.02)


def test_a_dataset_gives_its_actions(tmp_path):
    write_episode(tmp_path / "store", EPISODE, task="press_button:3:lighting")
    done = convert([tmp_path / "store" / EPISODE], tmp_path / "set", options=ConversionOptions())
    track = load_track(tmp_path / "set", episode=0)
    np.testing.assert_array_equal(track.targets, done.dataset.rows(0).action[:, :6])
    assert (track.space, track.period_ns) == (ActionSpace.TCP, CONTRACT.period_ns)
    assert track.scene == Scene("press_button", 3, "lighting")
    with pytest.raises(DataError, match="say which episode with --episode"):
        load_track(tmp_path / "set", episode=None)
    with pytest.raises(DataError, match="there is no episode 7"):
        load_track(tmp_path / "set", episode=7)


@pytest.mark.parametrize(
    ("meta", "scene"),
    [
        ({"task": "stack_blocks", "seed": 5, "variant": "colour"}, Scene("stack_blocks", 5, "colour")),
        ({"task": "stack_blocks:5"}, Scene("stack_blocks", 5)),
        ({"task": "stack_blocks"}, None),
        ({"task": "stack_blocks:five"}, None),
        ({}, None),
    ],
)
def test_scenes_are_found_in_the_notes(meta, scene):
    assert scene_of(meta) == scene


def test_a_pause_of_the_person_belongs_to_the_motion(tmp_path):
    hands_off = lambda at_ms: 500 <= at_ms < 900  # noqa: E731
    path = write_episode(tmp_path, EPISODE, duration_ms=2000, hands_off=hands_off)
    assert load_track(path, episode=None).duration_ns > 1900 * NS_PER_MS


def test_lost_messages_and_empty_recordings_are_refused(tmp_path):
    pause = lambda stream, at_ms: stream == "commanded" and 500 < at_ms < 900  # noqa: E731
    with pytest.raises(EpisodeError, match=r"nothing was commanded for \d+ ms, 0\.\d s into"):
        load_track(write_episode(tmp_path / "a", EPISODE, silent=pause), episode=None)
    with pytest.raises(EpisodeError, match="nothing moved the arm"):
        load_track(write_episode(tmp_path / "b", EPISODE, motion_ms=(0, 0)), episode=None)
    with pytest.raises(DataError, match="neither an episode nor a dataset"):
        load_track(tmp_path, episode=None)


# --- what is sent ----------------------------------------------------------------------------------------------------


def test_chunks_follow_the_recording_at_its_pace():
    track = make_track()
    begin_ns = START_NS
    chunk = track_chunk(track, begin_ns=begin_ns, now_ns=begin_ns + 450 * NS_PER_MS, stamp_ns=7)
    assert chunk.start_ns == begin_ns + 400 * NS_PER_MS
    np.testing.assert_array_equal(chunk.targets, track.targets[4:14])
    np.testing.assert_array_equal(chunk.gripper_openings, track.openings[4:14])
    assert (chunk.stamp_ns, chunk.source, chunk.final) == (7, "replay", False)


def test_the_last_row_is_held():
    track = make_track()
    chunk = track_chunk(track, begin_ns=START_NS, now_ns=START_NS + 3 * NS_PER_S, stamp_ns=0)
    assert chunk.start_ns == START_NS + 3 * NS_PER_S
    np.testing.assert_array_equal(chunk.targets, np.repeat(track.targets[-1:], 10, axis=0))


def test_the_way_to_the_start_is_slow_and_ends_there():
    goal = np.array([0.5, 0, -1.0, 0, 0, 0])
    approach = Approach(begin_ns=0, start=np.zeros(6), goal=goal, opening=1.0)
    stamps = np.arange(0, approach.duration_ns, 100 * NS_PER_MS)
    points = np.array([approach.chunk(now_ns=int(at), stamp_ns=0).targets[0] for at in stamps])
    speeds = np.abs(np.diff(points, axis=0)).max(axis=1) / 0.1
    assert speeds.max() == pytest.approx(APPROACH_SPEED, rel=0.02)
    assert speeds[0] < 0.02
    after = approach.chunk(now_ns=approach.duration_ns, stamp_ns=0)
    np.testing.assert_allclose(after.targets, np.repeat(goal[None], len(after.targets), axis=0))


def test_another_kind_of_rig_is_refused():
    site = Site.model_validate(yaml.safe_load(SITE.read_text()))
    require_site(make_track(), site)
    other = DataContract(cameras=("wrist", "top"), period_ns=CONTRACT.period_ns)
    with pytest.raises(ContractMismatchError, match=r"site twin .*cameras \('wrist', 'top'\)"):
        require_site(make_track(contract=other), site)


# --- on a lockstep rig -----------------------------------------------------------------------------------------------


@dataclass
class FakeRig:
    """Is where it was told to be one step later; done after some seconds of motion near the end of the track."""

    start: float = 0.0
    done_at: float | None = 0.19
    stuck: bool = False
    stop_reason: str = ""

    def __post_init__(self):
        self._now_ns = NS_PER_S
        self.chunks = []
        self.joints = np.full(6, self.start)

    def reset(self, *, task, seed, variant):
        self.scene = (task, seed, variant)
        return EpisodeStart(task, seed, variant, "press the button", 30.0)

    def now_ns(self):
        return self._now_ns

    def elapsed_s(self):
        return (self._now_ns - NS_PER_S) / NS_PER_S

    def observe(self):
        mode = (RobotMode.RUNNING, SafetyMode.NORMAL)
        return RigView(
            self._now_ns, {}, RobotState(self._now_ns, self.joints, np.zeros(6), np.zeros(6), 1.0, *mode, 1.0)
        )

    def step(self, chunk, *, duration_ns):
        self.chunks.append(chunk)
        self._now_ns += duration_ns
        row = int(np.clip((self._now_ns - chunk.start_ns) // chunk.period_ns, 0, len(chunk.targets) - 1))
        if not self.stuck:
            self.joints = chunk.targets[row].copy()

    def verdict(self):
        done = self.done_at is not None and bool(self.joints[0] >= self.done_at)
        return Verdict(done, "done" if done else "not pressed")


def test_a_replay_repeats_scene_motion_and_outcome():
    rig = FakeRig()
    done = replay_lockstep(rig, make_track(), scene=SCENE)
    assert rig.scene == ("press_button", 3, "id")
    assert (done.success, done.reason, done.same) == (True, "done", True)
    assert [chunk.sequence for chunk in rig.chunks] == list(range(1, len(rig.chunks) + 1))


def test_another_outcome_is_not_the_same():
    done = replay_lockstep(FakeRig(done_at=None), make_track(), scene=SCENE)
    assert (done.success, done.reason, done.same) == (False, "not pressed", False)
    assert replay_lockstep(FakeRig(done_at=None), make_track(outcome="failure"), scene=SCENE).same is True
    assert replay_lockstep(FakeRig(), make_track(outcome="unknown"), scene=SCENE).same is None


def test_the_start_is_approached_before_the_motion():
    rig = FakeRig(start=0.5)
    done = replay_lockstep(rig, make_track(), scene=SCENE)
    assert done.success
    assert done.approached_rad == pytest.approx(0.5)
    before = [chunk for chunk in rig.chunks if chunk.period_ns != make_track().period_ns]
    assert len(before) > 20
    assert before[-1].targets[-1] == pytest.approx(np.zeros(6))


def test_an_unreachable_start_is_said():
    with pytest.raises(EvaluationError, match="cannot be reached: the arm does not arrive"):
        replay_lockstep(FakeRig(start=0.5, stuck=True), make_track(), scene=SCENE)
    with pytest.raises(EvaluationError, match="s of slow motion away"):
        replay_lockstep(FakeRig(start=30.0), make_track(), scene=SCENE)


def test_a_stopped_arm_ends_the_replay():
    done = replay_lockstep(FakeRig(stop_reason="collision"), make_track(), scene=SCENE)
    assert (done.success, done.reason) == (False, "the arm stopped: collision")


# --- the command -----------------------------------------------------------------------------------------------------


def replay(*words):
    from mola_nodes.replay import command  # noqa: PLC0415

    parser = argparse.ArgumentParser()
    command.register(parser.add_subparsers())
    arguments = parser.parse_args(["replay", *map(str, words), "--site", str(SITE)])
    return arguments.run(arguments)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--lockstep", "--attach"), "--lockstep has a rig of its own"),
        (("--no-world",), "goes with --attach"),
        (("--lockstep",), "does not say how the twin was set up; give --task and --seed"),
    ],
)
def test_bad_words_are_refused(tmp_path, words, message):
    path = write_episode(tmp_path, EPISODE)
    with pytest.raises(ConfigError, match=message):
        replay(path, *words)


def test_a_dataset_of_other_cameras_is_refused(tmp_path):
    contract = DataContract(cameras=("wrist",), period_ns=100 * NS_PER_MS)
    path = write_episode(tmp_path, EPISODE, contract=contract, task="press_button:3")
    with pytest.raises(MolaError, match="site twin"):
        replay(path, "--lockstep")
