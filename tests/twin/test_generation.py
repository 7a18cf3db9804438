"""Demonstrations become a dataset with exact labels, the same one whether or not the run was interrupted."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mola_core.cli.dispatch import main
from mola_core.contracts.errors import ChunkRejectedError, ConfigError
from mola_core.contracts.io_spec import CameraView
from mola_core.contracts.rig import EpisodeStart, RigView
from mola_core.contracts.site import load_site
from mola_core.contracts.types import ActionChunk, ActionSpace
from mola_core.data.errors import DataError
from mola_core.data.labels.store import LabelFolder
from mola_core.data.lerobot.reader import LeRobotReader
from mola_core.data.opening import open_episodes, open_samples
from mola_core.data.sample import ACTED_ON, GOES_TO, LABELS, WindowSpec
from mola_core.evaluation.sources import Decision
from mola_core.teachers.labelling import Part, label_dataset
from mola_core.teachers.protocol import TeacherError, TeacherSettings, open_teacher
from mola_twin.cell.layout import BLOCKS
from mola_twin.cell.model import build_cell_model
from mola_twin.evaluation_rig import EvaluationRig
from mola_twin.generation import lead
from mola_twin.generation.campaign import EpisodeMaker
from mola_twin.generation.demonstration import Demonstration, FailedEpisode, demonstrate
from mola_twin.generation.desk import GenerationDesk
from mola_twin.generation.plan import Assignment, GenerationPlan, LeadPlan, NoisePlan
from mola_twin.labels.classes import CLASSES, body_of_geom, class_of_geom
from mola_twin.labels.geom_renderer import NOTHING
from mola_twin.labels.referents import part_of_class
from mola_twin.labels.scene_recorder import TEACHER, scene_info
from mola_twin.lockstep import LockstepRig
from mola_twin.tasks.instructions import task_spec
from mola_twin.tasks.seeds import EVALUATION_SEEDS, TRAINING_SEEDS, require_training_seeds
from mola_twin.tasks.start import sample_start
from mola_twin.tasks.success import Success

SITE = Path(__file__).parents[2] / "launch/sites/twin.yaml"
PLAN = GenerationPlan(
    tasks=("press_button", "grab_bowl"),
    first_seed=10_000,
    num_seeds=1,
    cameras=("third_person", "wrist"),
    view_width=80,
    view_height=48,
    label_stride=1,
    noise=NoisePlan(calm_share=0.0, bursts=0.8, arm_jitter_rad=0.0),
)


def make_all(dataset: Path, *, plan: GenerationPlan = PLAN) -> LeRobotReader:
    site = load_site(SITE)
    desk = GenerationDesk(dataset, plan)
    desk.begin()
    maker = EpisodeMaker(site, desk)
    for assignment in list(desk.left()):
        assert maker.make(assignment) == ""
    maker.close()
    width, height = plan.label_size
    return desk.finish(scene_info(site, cameras=plan.cameras, width=width, height=height))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("generated") / "demos"
    make_all(path)
    return path


def test_dataset_holds_every_task_with_its_words(dataset: Path) -> None:
    reader = LeRobotReader(dataset)
    assert [entry.meta["task"] for entry in reader.episodes] == ["grab_bowl", "press_button"]
    assert all(entry.meta["seed"] == 10_000 and entry.meta["outcome"] == "success" for entry in reader.episodes)
    assert "bowl" in reader.episodes[0].instruction
    assert reader.contract == PLAN.contract


def test_the_next_action_says_where_the_arm_goes(dataset: Path) -> None:
    """A row's action is what is meant at its own instant; that of the row after it leads on."""
    rows = LeRobotReader(dataset).rows(0)
    place, meant = rows.state[:, 6:9], rows.action[:, :3]
    assert np.median(np.linalg.norm(meant - place, axis=1)) < 0.02
    step, asked = np.diff(place, axis=0), meant[1:] - place[:-1]
    moving = np.linalg.norm(step, axis=1) > 0.01
    assert moving.sum() > 15
    step, asked = step[moving], asked[moving]
    along = np.sum(step * asked, axis=1) / np.linalg.norm(step, axis=1) / np.linalg.norm(asked, axis=1)
    assert np.median(along) > 0.9


def test_a_demonstration_may_end_when_the_task_is_done() -> None:
    """What follows is the way home, which a policy must not mistake for the way out."""
    one = Assignment("press_button", 10_000)
    plan = PLAN.model_copy(update={"hold_rows": 0})
    with LockstepRig(load_site(SITE)) as rig:
        whole = demonstrate(rig, one, plan)
        part = demonstrate(rig, one, plan.model_copy(update={"until": "done"}))
        assert rig.success().done
    assert isinstance(whole, Demonstration)
    assert isinstance(part, Demonstration)
    rows = len(part.state)
    assert rows < len(whole.state) - 10
    np.testing.assert_array_equal(part.state, whole.state[:rows])
    home = whole.state[0, 6:9]
    assert np.linalg.norm(whole.state[-1, 6:9] - home) < 0.01
    assert np.linalg.norm(part.state[-1, 6:9] - home) > 0.1


def test_of_many_scenes_the_beginning_may_do(dataset: Path, tmp_path: Path) -> None:
    plan = PLAN.model_copy(update={"tasks": ("grab_bowl",), "beginning_rows": 6})
    begun = make_all(tmp_path / "begun", plan=plan)
    assert begun.episodes[0].meta["outcome"] == "begun"
    rows, whole = begun.rows(0), LeRobotReader(dataset).rows(0)
    assert len(rows.state) == 6
    np.testing.assert_array_equal(rows.state, whole.state[:6])
    np.testing.assert_array_equal(rows.action, whole.action[:6])


def test_labels_agree_with_the_pictures(dataset: Path) -> None:
    """A frame warped by the flow is the later frame, where nothing has come between."""
    view = {"width": 80, "height": 48}
    window = WindowSpec(
        views=tuple(CameraView(camera=name, **view) for name in PLAN.cameras),
        offsets=(0, 4),
        horizon=0,
        labels=LABELS,
    )
    samples = open_samples(dataset, window, label_teacher=TEACHER, quiet=True)
    errors, still = [], []
    for index in range(10, len(samples), 9):
        sample = samples.sample(index)
        semantic = sample.labels["semantic"]
        assert sample.labels["depth"][0].min() > 0.3, "the third-person camera sees something everywhere"
        for camera in range(2):
            rows, columns = np.mgrid[:48, :80]
            shift = sample.labels["flow"][camera, 0]
            to_x = np.rint(columns + shift[..., 0] * 80).astype(int)
            to_y = np.rint(rows + shift[..., 1] * 48).astype(int)
            inside = sample.labels["flow_mask"][camera, 0] & (to_x >= 0) & (to_x < 80) & (to_y >= 0) & (to_y < 48)
            now, then = sample.frames[camera, 0][inside], sample.frames[camera, 1][to_y[inside], to_x[inside]]
            visible = semantic[camera, 1][to_y[inside], to_x[inside]] == semantic[camera, 0][inside]
            moved = np.abs(shift[inside]).max(axis=-1)[visible] * 80 > 1.0
            errors.append(np.abs(now.astype(int) - then).mean(axis=-1)[visible][moved])
            unwarped = np.abs(sample.frames[camera, 0].astype(int) - sample.frames[camera, 1]).mean(axis=-1)
            still.append(unwarped[inside][visible][moved])
    assert np.concatenate(errors).size > 2000
    assert np.concatenate(errors).mean() < 0.5 * np.concatenate(still).mean()
    assert np.median(np.concatenate(errors)) < 3.0


def test_semantic_labels_name_what_is_there(dataset: Path) -> None:
    folder = LabelFolder(dataset, teacher=TEACHER)
    info, arrays = folder.info(), folder.read(0)
    assert info.kind == "rigid_scene"
    classes = np.array(info.class_of_geom)[arrays["geom/third_person"][0]]
    seen = {info.classes[number] for number in np.unique(classes)}
    assert {"table", "arm", "gripper", "bowl", "bin", "cabinet", "button"} <= seen
    assert "distractor" not in seen


@pytest.mark.parametrize(
    ("task", "acted_on", "goes_to"),
    [
        ("bottle_in_bin", "bottle", "bin"),
        ("grab_bowl", "bowl", None),
        ("open_drawer", "drawer", None),
        ("press_button", "button", None),
    ],
)
def test_every_task_speaks_of_something(task: str, acted_on: str, goes_to: str | None) -> None:
    parts = dict(zip(CLASSES, part_of_class(sample_start(task=task, seed=10_000)), strict=True))
    wanted = {acted_on: ACTED_ON} | ({} if goes_to is None else {goes_to: GOES_TO})
    assert {name: part for name, part in parts.items() if part} == wanted


def test_of_three_blocks_two_are_meant() -> None:
    """As the instruction names them, in colours that it was not made with too."""
    for variant in ("id", "colour"):
        start = sample_start(task="stack_blocks", seed=10_000, variant=variant)
        colour = dict(zip(BLOCKS, start.appearance.block_names, strict=True))
        parts = dict(zip(CLASSES, part_of_class(start), strict=True))
        meant = [next(name for name in BLOCKS if parts[name] == part) for part in (ACTED_ON, GOES_TO)]
        spec = task_spec("stack_blocks")
        said = {
            phrase.format(top=colour[meant[0]], bottom=colour[meant[1]]) for phrase in (*spec.train, *spec.held_out)
        }
        assert start.instruction in said


def test_what_is_referred_to_is_seen_where_it_is(dataset: Path) -> None:
    view = CameraView(camera="third_person", width=80, height=48)
    window = WindowSpec(views=(view,), offsets=(0, 4), horizon=0, labels=("semantic", "referred"))
    samples = open_samples(dataset, window, label_teacher=TEACHER, quiet=True)
    labels = samples.sample(0).labels  # of the bowl
    np.testing.assert_array_equal(labels["referred"] == ACTED_ON, labels["semantic"] == CLASSES.index("bowl"))
    assert (labels["referred"] == ACTED_ON).sum() > 10
    assert not (labels["referred"] == GOES_TO).any()
    alone = samples.labels([0])
    assert alone.keys() == labels.keys()
    for name, array in alone.items():
        np.testing.assert_array_equal(array[0], labels[name])


def test_older_labels_refer_to_nothing(dataset: Path, tmp_path: Path) -> None:
    path = tmp_path / "older"
    shutil.copytree(dataset, path)
    info = path / "labels" / TEACHER / "info.json"
    said = json.loads(info.read_text())
    del said["refers"]
    info.write_text(json.dumps(said))
    view = CameraView(camera="third_person", width=80, height=48)
    window = WindowSpec(views=(view,), offsets=(0,), horizon=0, labels=("referred",))
    with pytest.raises(DataError, match="referred by no teacher; make labels with: mola data label"):
        open_samples(path, window, quiet=True)


def test_labels_of_all_variants_share_their_tables() -> None:
    """Distracting objects come after all others, so that one table of geoms serves scenes with and without them."""
    plain, full = build_cell_model(distractors=False), build_cell_model(distractors=True)
    count = plain.model.ngeom
    np.testing.assert_array_equal(class_of_geom()[:count], class_of_geom(plain))
    np.testing.assert_array_equal(body_of_geom()[:count], body_of_geom(plain))
    extra = {CLASSES[number] for number in class_of_geom(full)[count:]}
    assert extra == {"distractor"}
    assert len(CLASSES) <= 16
    assert full.model.ngeom < NOTHING


def assert_same_pictures(first: np.ndarray, second: np.ndarray) -> None:
    """The same drawings, decoded: from equal pictures the encoder was seen to give other bits now and then on a crowded machine."""
    assert first.shape == second.shape
    apart = np.abs(first.astype(int) - second.astype(int))
    assert apart.mean() < 1.0
    assert (apart > 64).mean() < 1e-3


def test_interrupted_run_goes_on_to_the_same_dataset(dataset: Path, tmp_path: Path) -> None:
    path = tmp_path / "demos"
    site, desk = load_site(SITE), GenerationDesk(path, PLAN)
    desk.begin()
    maker = EpisodeMaker(site, desk)
    maker.make(Assignment("grab_bowl", 10_000))  # and then the process dies
    maker.close()
    again = make_all(path)
    first = LeRobotReader(dataset)
    for episode in range(2):
        np.testing.assert_array_equal(again.rows(episode).state, first.rows(episode).state)
        assert_same_pictures(again.frames(episode, "wrist"), first.frames(episode, "wrist"))
    labels, other = LabelFolder(path, teacher=TEACHER).read(1), LabelFolder(dataset, teacher=TEACHER).read(1)
    for name, array in labels.items():
        np.testing.assert_array_equal(array, other[name])
    assert not desk.dataset.with_name("demos.generation").exists()


def test_generated_episodes_can_be_labelled_later(dataset: Path, tmp_path: Path) -> None:
    """The simulator runs them again; what it sees then is what it saw."""
    path = tmp_path / "demos"
    shutil.copytree(dataset, path)
    shutil.rmtree(path / "labels")
    source = open_episodes(path)
    settings = TeacherSettings(dataset=path, cameras=PLAN.cameras, view=(80, 48), stride=1, weights=str(SITE))
    teacher = open_teacher("twin", settings)
    label_dataset(source, teacher, view=(80, 48), part=Part(1, 2))
    again, before = (LabelFolder(place, teacher=TEACHER) for place in (path, dataset))
    assert again.info() == before.info()
    for name, array in again.read(1).items():
        np.testing.assert_array_equal(array, before.read(1)[name])
    source.episodes[0].meta["seed"] = 10_001  # type: ignore[index]  # tampered with
    with pytest.raises(TeacherError, match="does not come out again as it is stored"):
        label_dataset(source, teacher, view=(80, 48))


def test_simulator_labels_nothing_that_it_did_not_generate(tmp_path: Path) -> None:
    settings = TeacherSettings(dataset=tmp_path, cameras=("wrist",), view=(80, 48), stride=1)
    with pytest.raises(TeacherError, match="was not generated by the twin"):
        open_teacher("twin", settings)


def test_another_plan_is_refused_where_one_was_begun(tmp_path: Path) -> None:
    GenerationDesk(tmp_path / "demos", PLAN).begin()
    other = PLAN.model_copy(update={"num_seeds": 2})
    with pytest.raises(ConfigError, match="begun with another plan"):
        GenerationDesk(tmp_path / "demos", other).begin()


def test_failed_episodes_are_left_out_and_counted(tmp_path: Path) -> None:
    """An arm that starts too tilted is straightened in joint space, which no row can say."""
    plan = PLAN.model_copy(update={"noise": NoisePlan(arm_jitter_rad=0.2), "num_seeds": 3, "label_stride": 0})
    desk = GenerationDesk(tmp_path / "demos", plan)
    desk.begin()
    maker = EpisodeMaker(load_site(SITE), desk)
    outcomes = [maker.make(Assignment("press_button", seed)) for seed in range(10_000, 10_003)]
    maker.close()
    assert any("joint space" in outcome for outcome in outcomes)
    assert len(desk.failures()) == sum(1 for outcome in outcomes if outcome)
    assert Assignment("press_button", 10_000) not in list(desk.left())


def test_refused_motion_is_a_failed_episode_and_not_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ChunkRejectedError("the first row is 0.3 rad away")

    desk = GenerationDesk(tmp_path / "demos", PLAN)
    desk.begin()
    maker = EpisodeMaker(load_site(SITE), desk)
    monkeypatch.setattr(LockstepRig, "step", refuse)
    assert maker.make(Assignment("press_button", 10_000)) == "the first row is 0.3 rad away"
    maker.close()
    assert [failure["outcome"] for failure in desk.failures()] == ["the first row is 0.3 rad away"]


def test_training_and_evaluation_never_share_a_seed() -> None:
    assert not set(EVALUATION_SEEDS) & set(range(TRAINING_SEEDS.start, TRAINING_SEEDS.start + 100_000))
    with pytest.raises(ConfigError, match=r"seeds 990\.\.1009 are not all for training"):
        require_training_seeds(990, 20)


def test_a_task_named_twice_is_done_from_twice_as_many_seeds() -> None:
    plan = PLAN.model_copy(update={"tasks": ("press_button", "grab_bowl", "press_button"), "num_seeds": 3})
    episodes = list(plan.episodes())
    assert len(set(episodes)) == 9
    seeds = sorted(one.seed for one in episodes if one.task == "press_button")
    assert seeds == list(range(10_000, 10_006))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--first-seed", "5"], "not all for training"),
        (["--tasks", "fly"], "'fly' is not known"),
        (["--view", "128"], "write it as 128x128"),
        (["--labels", "7"], "does not divide"),
        (["--workers", "0"], "--workers 0 is outside"),
        (["--variant", "fog"], "'fog' is not known"),
        (["--beginning-rows", "1"], "beginning_rows 1: Input should be greater than or equal to 2"),
    ],
)
def test_bad_arguments_are_one_line(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["data", "generate", str(tmp_path / "demos"), "--site", str(SITE), *words])
    assert status == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "demos").exists()


@pytest.mark.slow
def test_command_generates_in_parallel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "data",
        "generate",
        str(tmp_path / "demos"),
        "--site",
        str(SITE),
        "--tasks",
        "press_button",
        "--episodes",
        "2",
    ]
    assert main([*words, "--view", "64x64", "--arm-jitter", "0", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["figures"]["episodes"] == 2


class _Wanderer:
    """A policy that goes to the side and half closes the hand."""

    execute_ns = 500_000_000
    settle_ns = 0

    def __init__(self) -> None:
        self.asked = 0

    def begin(self, _start: EpisodeStart) -> None:
        self.asked = 0

    def decide(self, _rig: object, view: RigView) -> Decision:
        self.asked += 1
        goal = np.tile(view.state.base_from_tcp, (16, 1))
        goal[:, 1] += 0.004 * np.arange(1, 17)
        chunk = ActionChunk(
            sequence=self.asked,
            source="policy",
            bundle_id="",
            stamp_ns=view.stamp_ns,
            alive_stamp_ns=view.stamp_ns,
            start_ns=view.stamp_ns + 100_000_000,
            period_ns=100_000_000,
            space=ActionSpace.TCP,
            targets=goal,
            gripper_openings=np.full(16, 0.2),
            execute_steps=5,
            final=False,
        )
        return Decision(chunk)


def test_a_policy_leads_and_the_expert_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the policy did is kept to be seen and not to be imitated; from where it has got to the expert does the task."""
    wanderer = _Wanderer()
    monkeypatch.setattr(lead, "open_source", lambda _choice: wanderer)
    monkeypatch.setattr(lead, "PolicySource", _Wanderer)
    leading = LeadPlan(policy="somewhere", identity="none", shortest_s=1.5, longest_s=1.5)
    plan = PLAN.model_copy(update={"lead": leading, "noise": NoisePlan(calm_share=1.0, arm_jitter_rad=0.0)})
    with LockstepRig(load_site(SITE)) as rig:
        made = demonstrate(rig, Assignment("press_button", 10_000), plan, lead=lead.Lead(leading))
    assert isinstance(made, Demonstration), made
    assert made.mistakes == [[0, 15]]
    assert wanderer.asked == 3
    drift = made.state[14, 7] - made.state[0, 7]
    assert 0.02 < drift < 0.08
    assert np.linalg.norm(made.action[15, :3] - made.state[15, 6:9]) < 0.01, "the expert begins where the arm is"
    assert made.action[16:, 6].min() == 0.0


def test_what_a_lead_decides_comes_into_force_as_late_as_on_a_rig(monkeypatch: pytest.MonkeyPatch) -> None:
    wanderer = _Wanderer()
    monkeypatch.setattr(lead, "open_source", lambda _choice: wanderer)
    monkeypatch.setattr(lead, "PolicySource", _Wanderer)
    leading = lead.Lead(LeadPlan(policy="somewhere", identity="none", longest_delay_s=0.3))
    with LockstepRig(load_site(SITE)) as twin:
        twin.reset(task="press_button", seed=10_000)
        rig = EvaluationRig(twin)
        view = rig.observe()

    def changes(seed: int) -> tuple[int, ...]:
        """Periods of 0.1 s in which another decision came into force; decided is in every fifth."""
        leading.begin(EpisodeStart(task="press_button", seed=seed, variant="id", instruction="press", time_limit_s=9.0))
        views = [replace(view, stamp_ns=view.stamp_ns + period * 100_000_000) for period in range(15)]
        starts_ns = [leading.act(rig, each).start_ns for each in views]
        found = tuple(period for period in range(1, 15) if starts_ns[period] != starts_ns[period - 1])
        assert wanderer.settle_ns <= (found[0] - 5) * 100_000_000, "it is told what is executed until then"
        assert wanderer.settle_ns > (found[0] - 6) * 100_000_000
        return found

    found = [changes(seed) for seed in range(12)]
    assert set(found) == {(6, 11), (7, 12), (8, 13)}
    assert found == [changes(seed) for seed in range(12)], "the same episode has the same delay"


class _Spoiler(_Wanderer):
    """A policy that asks for the impossible after two seconds."""

    def decide(self, rig: object, view: RigView) -> Decision:
        chunk = super().decide(rig, view).chunk
        return Decision(replace(chunk, targets=chunk.targets + (0.0 if self.asked < 5 else 3.0)))


def test_what_a_policy_spoils_is_done_again_and_taken_over_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    """What leads to a stop is never reached by an expert that only takes over afterwards."""
    monkeypatch.setattr(lead, "open_source", lambda _choice: _Spoiler())
    monkeypatch.setattr(lead, "PolicySource", _Spoiler)
    leading = LeadPlan(policy="somewhere", identity="none", shortest_s=8.0, longest_s=8.0)
    with LockstepRig(load_site(SITE)) as rig:
        made = demonstrate(rig, Assignment("press_button", 10_000), PLAN, lead=lead.Lead(leading))
    assert isinstance(made, Demonstration), made
    ((first, last),) = made.mistakes
    assert first == 0
    assert 0 < last < 18, "rows of 0.1 s, taken over half a second to two seconds before the third"
    assert made.action[last:, 6].min() == 0.0, "and the button was pressed"


def test_an_episode_that_the_policy_does_alone_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lead, "open_source", lambda _choice: _Wanderer())
    monkeypatch.setattr(lead, "PolicySource", _Wanderer)
    leading = LeadPlan(policy="somewhere", identity="none", shortest_s=1.5, longest_s=1.5)
    with LockstepRig(load_site(SITE)) as rig:
        monkeypatch.setattr(
            rig, "success", lambda: Success("press_button", done=True, held_s=1.0, dwell_s=0.0, conditions={})
        )
        made = demonstrate(rig, Assignment("press_button", 10_000), PLAN, lead=lead.Lead(leading))
    assert isinstance(made, FailedEpisode)
    assert made.outcome == "the policy did it alone"


def test_a_lead_without_a_policy_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["data", "generate", str(tmp_path / "demos"), "--site", str(SITE), "--episodes", "1"]
    assert main([*words, "--lead", str(tmp_path / "nothing")]) == 2
    assert "is neither expert nor hold nor a folder with" in capsys.readouterr().err
    assert main([*words, "--lead", "expert"]) == 2
    assert "--lead expert is no policy" in capsys.readouterr().err
    assert main([*words, "--lead-delay-ms", "300"]) == 2
    assert "--lead-delay-ms is about what --lead decides" in capsys.readouterr().err
    assert not (tmp_path / "demos.generation").exists()
