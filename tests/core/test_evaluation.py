"""Rollouts: time is the rig's, plans are followed and replaced as on the real servo path, and results survive a kill."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from mola_core.cli import main
from mola_core.contracts.bundle import MANIFEST
from mola_core.contracts.clock import NS_PER_MS, NS_PER_S
from mola_core.contracts.errors import ChunkRejectedError
from mola_core.contracts.io_spec import CameraView, DataContract, IoSpec
from mola_core.contracts.rig import EpisodeStart, RigView, Verdict
from mola_core.contracts.types import ActionChunk, RobotMode, RobotState, SafetyMode
from mola_core.evaluation.campaign import Campaign, run_episode
from mola_core.evaluation.conditions import Conditions
from mola_core.evaluation.errors import EvaluationError
from mola_core.evaluation.figures import rate_figures
from mola_core.evaluation.policies import CHECKPOINT_FILE, PolicyChoice, identity_of, open_policy
from mola_core.evaluation.results import ResultsFile
from mola_core.evaluation.rollout import Episode, Rollout, RolloutSettings, roll_out
from mola_core.evaluation.sources import HoldingSource, PolicySource
from mola_core.runtime.observation import state_row, views_of
from mola_core.runtime.policy import PolicyAnswer, PolicyObservation
from mola_core.runtime.tensors import RuntimeInputError

PERIOD_NS = 100 * NS_PER_MS
IO = IoSpec(
    contract=DataContract(cameras=("front",), period_ns=PERIOD_NS),
    views=(CameraView(camera="front", width=16, height=16),),
    horizon=8,
    execute_steps=4,
    foresight_offsets=(1,),
)
STATE = RobotState(
    stamp_ns=0,
    joint_positions=np.arange(6.0),
    joint_velocities=np.zeros(6),
    base_from_tcp=np.arange(6.0) / 10,
    gripper_opening=0.5,
    robot_mode=RobotMode.RUNNING,
    safety_mode=SafetyMode.NORMAL,
    speed_scaling=1.0,
)


@dataclass
class FakeRig:
    """Remembers what it was told; done after ``done_after_s``, stops after ``stops_after_s``."""

    done_after_s: float = 1e9
    stops_after_s: float = 1e9
    rejects: frozenset[int] = frozenset()
    """Which plans, by their stamp's order, the door refuses."""
    max_plan_age_ns: int = NS_PER_S
    tasks: tuple[str, ...] = ("lift", "push")
    variants: tuple[str, ...] = ("id", "dark")
    followed: list[tuple[int, int]] = field(default_factory=list)
    """(time, stamp of the plan followed from then on), ns; -1 for none."""
    plans: list[int] = field(default_factory=list)
    _now_ns: int = 0
    _start_ns: int = 0

    def reset(self, *, task: str, seed: int, variant: str) -> EpisodeStart:
        self._start_ns = self._now_ns
        return EpisodeStart(task=task, seed=seed, variant=variant, instruction=f"{task} it", time_limit_s=3.0)

    def now_ns(self) -> int:
        return self._now_ns

    def elapsed_s(self) -> float:
        return (self._now_ns - self._start_ns) / NS_PER_S

    def observe(self) -> RigView:
        frame = np.full((24, 32, 3), self._now_ns // PERIOD_NS % 256, dtype=np.uint8)
        return RigView(stamp_ns=self._now_ns, frames={"front": frame}, state=STATE)

    def step(self, chunk: ActionChunk | None, *, duration_ns: int) -> None:
        if chunk is not None:
            if chunk.stamp_ns not in self.plans:
                self.plans.append(chunk.stamp_ns)
            if self.plans.index(chunk.stamp_ns) in self.rejects:
                raise ChunkRejectedError("it points into the table")
            assert chunk.alive_stamp_ns == self._now_ns, "the plan is confirmed as it is sent again"
        if duration_ns:
            self.followed.append((self._now_ns, -1 if chunk is None else chunk.stamp_ns))
        self._now_ns += duration_ns

    def scripted_chunk(self) -> ActionChunk:
        raise NotImplementedError

    @property
    def stop_reason(self) -> str:
        return "collision" if self.elapsed_s() >= self.stops_after_s else ""

    def verdict(self) -> Verdict:
        done = self.elapsed_s() >= self.done_after_s
        return Verdict(done=done, reason="done" if done else "not lifted")

    def close(self) -> None:
        pass


@dataclass
class FakePolicy:
    """Stays where it is; remembers what it was asked."""

    io_spec: IoSpec = IO
    bundle_id: str = "fake/1"
    max_settled: int = 0
    asked: list[PolicyObservation] = field(default_factory=list)
    seeds: list[int | None] = field(default_factory=list)
    settled: list[np.ndarray | None] = field(default_factory=list)

    def reset(self, *, instruction: str) -> None:
        pass

    def act(
        self, observation: PolicyObservation, *, noise_seed: int | None = None, settled: np.ndarray | None = None
    ) -> PolicyAnswer:
        self.settled.append(settled)
        self.asked.append(observation)
        self.seeds.append(noise_seed)
        targets = np.tile(observation.state[6:12], (self.io_spec.horizon, 1))
        return PolicyAnswer(observation.stamp_ns, targets, np.full(self.io_spec.horizon, 0.5))


def rolled(
    rig: FakeRig, policy: FakePolicy, *, execute_steps: int | None = None, settle_ns: int = 0, **settings: object
) -> Rollout:
    source = PolicySource(policy, execute_steps=execute_steps, settle_ns=settle_ns)
    return roll_out(rig, source, Episode("lift", 5), settings=RolloutSettings(**settings))


def test_a_policy_is_asked_after_the_rows_it_executes() -> None:
    rig, policy = FakeRig(done_after_s=1.3), FakePolicy()
    rollout = rolled(rig, policy)
    assert rollout.success
    assert rollout.outcome == "done"
    assert rollout.duration_s == pytest.approx(1.3)
    assert [seen.stamp_ns // PERIOD_NS for seen in policy.asked] == [0, 4, 8, 12]
    np.testing.assert_array_equal(policy.asked[0].state, state_row(STATE))
    assert policy.asked[1].views["front"].shape == (16, 16, 3)
    assert policy.asked[1].views["front"].max() == 4, "it sees what the rig shows now"
    assert policy.asked[0].instruction == "lift it"


def test_noise_follows_from_the_seed_alone() -> None:
    first, second = FakePolicy(), FakePolicy()
    rolled(FakeRig(done_after_s=1.0), first)
    rolled(FakeRig(done_after_s=1.0), second)
    assert first.seeds == second.seeds
    assert len(set(first.seeds)) == len(first.seeds)


def test_while_the_policy_computes_the_arm_goes_on_with_the_plan_it_has() -> None:
    rig, policy = FakeRig(done_after_s=1.2), FakePolicy()
    rolled(rig, policy, delay_ns=150 * NS_PER_MS)
    assert [seen.stamp_ns // NS_PER_MS for seen in policy.asked] == [0, 400, 800]
    by_time = dict(rig.followed)
    for moment_ms, plan_ms in (
        (0, None),
        (100, None),
        (150, 0),
        (400, 0),
        (500, 0),
        (550, 400),
        (900, 400),
        (950, 800),
    ):
        plan_ns = -1 if plan_ms is None else plan_ms * NS_PER_MS
        assert by_time[moment_ms * NS_PER_MS] == plan_ns, moment_ms


def test_what_is_executed_meanwhile_is_told_to_a_policy_that_can_continue_it() -> None:
    policy = FakePolicy(max_settled=4)
    rolled(FakeRig(done_after_s=0.9), policy, delay_ns=250 * NS_PER_MS, settle_ns=250 * NS_PER_MS)
    first, second, third = policy.settled
    assert first is None, "nothing runs yet"
    assert second is not None
    assert third is not None
    assert second.shape == (2, 7), "rows due 100 and 200 ms after what it sees; the next is due when its chunk has come"
    np.testing.assert_allclose(second[:, :6], np.tile(STATE.base_from_tcp, (2, 1)), atol=1e-9)
    np.testing.assert_allclose(second[:, 6], 0.5)
    for untold, settle_ns in ((FakePolicy(max_settled=4), 0), (FakePolicy(), 250 * NS_PER_MS)):
        rolled(FakeRig(done_after_s=0.9), untold, delay_ns=250 * NS_PER_MS, settle_ns=settle_ns)
        assert untold.settled == [None, None, None]


def test_a_refused_chunk_leaves_the_old_plan_in_force_and_is_counted() -> None:
    rig = FakeRig(rejects=frozenset({1}))
    rollout = rolled(rig, FakePolicy(), time_limit_s=1.2)
    assert rollout.rejected == 1
    assert "1 chunks refused, the first: it points into the table" in rollout.outcome
    assert dict(rig.followed)[500 * NS_PER_MS] == 0
    assert dict(rig.followed)[850 * NS_PER_MS] == 800 * NS_PER_MS


def test_a_stopped_arm_and_the_time_limit_end_an_episode() -> None:
    stopped = rolled(FakeRig(stops_after_s=0.5), FakePolicy())
    assert (stopped.success, stopped.outcome) == (False, "the arm stopped: collision")
    late = roll_out(FakeRig(), HoldingSource(), Episode("lift", 1), settings=RolloutSettings())
    assert (late.success, late.outcome, late.chunks) == (False, "time limit of 3 s: not lifted", 0)


def test_plans_older_than_the_site_accepts_are_refused_before_anything_moves() -> None:
    rig = FakeRig(max_plan_age_ns=300 * NS_PER_MS)
    with pytest.raises(EvaluationError, match=r"a plan would be 400 ms old .* max_observation_age_ms is 300"):
        rolled(rig, FakePolicy())
    assert not rig.followed
    rolled(FakeRig(max_plan_age_ns=300 * NS_PER_MS, done_after_s=0.1), FakePolicy(), execute_steps=3)
    with pytest.raises(EvaluationError, match="--execute-steps 9 exceeds the policy's horizon of 8"):
        PolicySource(FakePolicy(), execute_steps=9)


def test_the_wrong_instruction_is_that_of_another_task_and_only_for_once() -> None:
    rig, policy = FakeRig(done_after_s=0.1), FakePolicy()
    source = PolicySource(policy)
    campaign = Campaign(
        rig="fake", site=Path(), choice=PolicyChoice("x", control="wrong-instruction"), settings=RolloutSettings()
    )
    rollout = run_episode(campaign, Episode("push", 3), rig=rig, source=source)
    assert policy.asked[-1].instruction == "lift it"
    assert rollout.instruction == "push it"
    plain = replace(campaign, choice=PolicyChoice("x"))
    run_episode(plain, Episode("push", 3), rig=rig, source=source)
    assert policy.asked[-1].instruction == "push it"


def test_missing_cameras_and_silent_grippers_are_named() -> None:
    with pytest.raises(RuntimeInputError, match="looks through front; the rig has side"):
        views_of({"side": np.zeros((24, 32, 3), dtype=np.uint8)}, io=IO)
    with pytest.raises(RuntimeInputError, match="gripper says nothing"):
        state_row(replace(STATE, gripper_opening=None))


# --- results ----------------------------------------------------------------------------------------------------------

CONDITIONS = Conditions(policy="expert", rig="twin", site="abc", variant="id")


def rollout(seed: int, *, task: str = "lift", success: bool = True) -> Rollout:
    return Rollout(
        task=task,
        seed=seed,
        variant="id",
        instruction="x",
        success=success,
        outcome="done" if success else "time limit",
        duration_s=2.0,
        wall_s=1.0,
        chunks=3,
        rejected=0,
        act_ms=10.0,
    )


def opened(path: Path, conditions: Conditions = CONDITIONS) -> ResultsFile:
    results = ResultsFile(path, conditions)
    results.open()
    return results


def test_results_go_on_where_they_were(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "results.jsonl"
    first = opened(path)
    first.add(rollout(1))
    first.add(rollout(2, success=False))
    again = opened(path)
    assert again.rollouts == {("lift", 1): rollout(1), ("lift", 2): rollout(2, success=False)}


def test_a_line_cut_short_by_a_kill_runs_again(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    opened(path).add(rollout(1))
    with path.open("a") as file:
        file.write('{"task": "lift", "se')
    again = opened(path)
    assert set(again.rollouts) == {("lift", 1)}
    again.add(rollout(2))
    assert set(opened(path).rollouts) == {("lift", 1), ("lift", 2)}


def test_results_under_other_conditions_or_damaged_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    opened(path).add(rollout(1))
    with pytest.raises(EvaluationError, match=r"delay_ms 0\.0 against 50\.0; choose another --out"):
        opened(path, replace(CONDITIONS, delay_ms=50.0))
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], "nonsense", *lines[1:]]) + "\n")
    with pytest.raises(EvaluationError, match="line 2, is not a rollout"):
        opened(path)
    path.write_text("nonsense\n")
    with pytest.raises(EvaluationError, match="is not a file of rollouts"):
        opened(path)


def test_numbers_of_steps_are_conditions_and_leave_the_key_alone_where_unsaid(tmp_path: Path) -> None:
    assert CONDITIONS.key == "d85a3b36c2c0", "of results that were written before there was a choice"
    asked = [CONDITIONS, replace(CONDITIONS, video_steps=2), replace(CONDITIONS, action_steps=2)]
    assert len({each.key for each in asked}) == 3
    opened(tmp_path / "results.jsonl").add(rollout(1))
    with pytest.raises(EvaluationError, match="video_steps None against 2; choose another --out"):
        opened(tmp_path / "results.jsonl", asked[1])


def test_figures_have_a_row_for_each_task_and_one_for_all() -> None:
    rows = rate_figures([rollout(1), rollout(2, success=False), rollout(1, task="push"), rollout(2, task="push")])
    assert [(row.task, row.successes, row.trials) for row in rows] == [("lift", 1, 2), ("push", 2, 2), ("all", 3, 4)]
    assert rows[0].failures == ["2: time limit"]
    assert 0 < rows[2].rate_low < rows[2].rate < rows[2].rate_high < 1
    assert len(rate_figures([rollout(1)])) == 1


# --- what people type -------------------------------------------------------------------------------------------------


def test_a_policy_is_named_by_a_word_or_a_folder_with_one(tmp_path: Path) -> None:
    assert identity_of(PolicyChoice("expert")) == "expert"
    with pytest.raises(EvaluationError, match="it takes no --control"):
        identity_of(PolicyChoice("hold", control="wrong-instruction"))
    with pytest.raises(EvaluationError, match="neither expert nor hold nor a folder"):
        identity_of(PolicyChoice(str(tmp_path)))
    (tmp_path / "checkpoint.json").write_text(json.dumps({"digest": "abcdef0123456789ff"}))
    assert identity_of(PolicyChoice(str(tmp_path))) == "checkpoint abcdef0123456789"
    (tmp_path / "checkpoint.json").write_text("{}")
    with pytest.raises(EvaluationError, match="cannot be read"):
        identity_of(PolicyChoice(str(tmp_path)))


def test_a_bundle_cannot_be_looked_into(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="give the checkpoint, not a bundle"):
        open_policy(PolicyChoice(str(tmp_path), control="same-frame"))


@pytest.mark.parametrize(
    ("file", "model", "steps", "said"),
    [
        (MANIFEST, {}, {"video_steps": 2}, "--video-steps 2: the steps of bundle .* were fixed on export; give the checkpoint"),
        (MANIFEST, {}, {"action_steps": 3}, "--action-steps 3: the steps of bundle"),
        (CHECKPOINT_FILE, {"backbone": None}, {"video_steps": 2}, "--video-steps 2: .* imagines nothing; leave the option out"),
        (CHECKPOINT_FILE, {"head": {"kind": "ar"}}, {"action_steps": 3}, "--action-steps 3: .* without steps; leave the option out"),
    ],
)  # fmt: skip
def test_steps_that_a_policy_does_not_take_are_refused(
    file: str, model: dict[str, object], steps: dict[str, int], said: str, tmp_path: Path
) -> None:
    (tmp_path / file).write_text(json.dumps({"digest": "abcdef0123456789ff", "recipe": {"model": model}}))
    with pytest.raises(EvaluationError, match=said):
        identity_of(PolicyChoice(str(tmp_path), **steps))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--video-steps", "0"], "--video-steps 0 is outside 1..1000"),
        (["--action-steps", "2000"], "--action-steps 2000 is outside 1..1000"),
        (["--video-steps", "2"], "--policy hold computes nothing in steps: leave --video-steps 2 out"),
        (["--trials", "0"], "--trials 0 is outside"),
        (["--seeds", "5:5"], "holds no seeds"),
        (["--seeds", "a:b"], "not A:B or A with whole numbers"),
        (["--seeds", "0:5", "--trials", "3"], "--seeds 0:5 are 5 seeds, --trials says 3"),
        (["--task", "juggle"], "--task juggle is not known; choose from bottle_in_bin"),
        (["--variant", "id,underwater"], "--variant underwater is not known; choose from id"),
        (["--control", "none,blindfold"], "--control blindfold is not known; choose from none"),
        (["--variant", "id,lighting", "--out", __file__], f"2 tables are asked for, and --out {__file__} is a file"),
        (["--delay-ms", "9999"], "--delay-ms 9999.0 is outside"),
        (["--untold", "--policy", "hold", "--delay-ms", "9"], "--policy hold plans nothing that it could be told of"),
        (["--untold"], "--untold is about what is executed during --delay-ms, which is 0"),
        (["--time-limit-s", "-1"], "--time-limit-s -1.0 is not positive"),
        (["--site", "nowhere.yaml"], "site file nowhere.yaml does not exist"),
    ],
)
def test_what_cannot_be_meant_is_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    site = str(Path(__file__).parents[2] / "launch/sites/twin.yaml")
    assert main(["eval", "twin", "--policy", "hold", "--site", site, *words]) == 2
    assert said in capsys.readouterr().err


def test_several_tables_go_into_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = str(Path(__file__).parents[2] / "launch/sites/twin.yaml")
    words = ["--task", "press_button", "--trials", "1", "--time-limit-s", "0.2", "--variant", "id,lighting"]
    words += ["--workers", "1", "--site", site, "--out", str(tmp_path / "tables"), "--json"]
    assert main(["eval", "twin", "--policy", "hold", *words]) == 0
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == ["id-none.jsonl", "lighting-none.jsonl"]
    cells = json.loads(capsys.readouterr().out)["figures"]["cells"]
    assert [cell["conditions"]["variant"] for cell in cells] == ["id", "lighting"]


def test_an_unknown_rig_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    site = str(Path(__file__).parents[2] / "launch/sites/twin.yaml")
    assert main(["eval", "mars", "--policy", "hold", "--site", site]) == 2
    assert "rig 'mars' is not known; installed: twin" in capsys.readouterr().err
