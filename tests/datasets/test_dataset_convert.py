"""Episodes become datasets: what was recorded, on the contract's rows, whole, and with everything left out said."""

import argparse
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from episode_bags import CONTRACT, SIZE, START_NS, picture, write_episode

from mola_core.contracts.clock import NS_PER_MS
from mola_core.contracts.io_spec import ContractMismatchError, DataContract
from mola_core.contracts.preprocess import view_of
from mola_core.contracts.resample import Gap, Resampler, Row
from mola_core.data.conversion import command
from mola_core.data.conversion.check import check
from mola_core.data.conversion.convert import ConversionOptions, convert, find_episodes
from mola_core.data.conversion.items import episode_items, episode_rows, feed
from mola_core.data.conversion.summary import summarise
from mola_core.data.episodes.meta import EpisodeError, Outcome
from mola_core.data.episodes.reader import EpisodeReader
from mola_core.data.lerobot.errors import DatasetError
from mola_core.data.lerobot.reader import LeRobotReader

FIRST, SECOND = "20261126-120000-0001", "20261126-120000-0002"


def to_dataset(tmp_path, paths=None, **options):
    paths = find_episodes([tmp_path / "store"] if paths is None else paths)
    return convert(paths, tmp_path / "set", options=ConversionOptions(**options))


def flat(one):
    if isinstance(one, Gap):
        return (one.stamp_ns, one.reason)
    seen = one.observation
    frames = {name: (f.stamp_ns, f.sequence, f.color.tobytes()) for name, f in seen.frames.items()}
    return (seen.stamp_ns, frames, seen.state.tobytes(), one.action.tobytes(), one.source, one.bundle_id)


def test_a_recorded_episode_gives_the_rows_of_the_live_stream(tmp_path):
    """The messages as a node would get them, one by one, against the bag resampled as a whole: bit for bit."""
    quiet = lambda stream, at_ms: stream == "wrist" and 500 < at_ms < 900  # noqa: E731
    path = write_episode(tmp_path, silent=quiet)
    with EpisodeReader(path) as episode:
        live = Resampler(CONTRACT)
        rows = []
        for stream, item in episode_items(episode):
            feed(live, stream, item)
            rows += live.rows()
        rows += live.finish()
        at_once = Resampler(CONTRACT)
        for camera in CONTRACT.cameras:
            for frame in episode.frames(camera):
                at_once.add_frame(camera, frame)
        for state in episode.robot_states():
            at_once.add_state(state)
        for commanded in episode.commanded():
            at_once.add_commanded(commanded)
        whole = list(at_once.finish())
        again = list(episode_rows(episode))
    assert [flat(one) for one in rows] == [flat(one) for one in whole] == [flat(one) for one in again]
    assert sum(isinstance(one, Row) for one in rows) >= 10
    assert any(isinstance(one, Gap) for one in rows)


def test_rows_are_those_of_the_resampler(tmp_path):
    path = write_episode(tmp_path / "store")
    done = to_dataset(tmp_path)
    with EpisodeReader(path) as episode:
        want = [one for one in episode_rows(episode) if isinstance(one, Row)]
    rows = done.dataset.rows(0)
    np.testing.assert_array_equal(rows.stamp_ns, [one.observation.stamp_ns for one in want])
    np.testing.assert_array_equal(rows.state, np.float32([one.observation.state for one in want]))
    np.testing.assert_array_equal(rows.action, np.float32([one.action for one in want]))
    seen = np.stack([one.observation.frames["wrist"].color for one in want])
    assert np.abs(done.dataset.frames(0, "wrist").astype(int) - seen).mean() < 3
    entry = done.dataset.episodes[0]
    assert entry.instruction == "press the button"
    assert (entry.meta["episode_id"], entry.meta["outcome"], entry.meta["operator"]) == (FIRST, "success", "tester")
    assert check(tmp_path / "set").problems == []


def test_only_successes_are_taken_unless_asked(tmp_path):
    write_episode(tmp_path / "store", FIRST)
    write_episode(tmp_path / "store", SECOND, outcome=Outcome.FAILURE)
    done = to_dataset(tmp_path)
    assert done.written == [FIRST]
    assert done.left_out == {SECOND: "outcome failure"}
    both = convert(
        find_episodes([tmp_path / "store"]),
        tmp_path / "both",
        options=ConversionOptions(outcomes=frozenset(Outcome)),
    )
    assert both.written == [FIRST, SECOND]


def test_time_without_motion_is_left_out(tmp_path):
    write_episode(tmp_path / "store", duration_ms=3000, motion_ms=(800, 1600))
    stamps = (to_dataset(tmp_path).dataset.rows(0).stamp_ns - START_NS) / NS_PER_MS
    assert 690 <= stamps[0] <= 810
    assert 2000 <= stamps[-1] <= 2110
    write_episode(tmp_path / "other", duration_ms=3000, motion_ms=(800, 1600))
    kept = convert([tmp_path / "other" / FIRST], tmp_path / "kept", options=ConversionOptions(keep_idle=True))
    assert kept.rows >= 28


def test_an_episode_in_which_nothing_moved_is_named(tmp_path):
    write_episode(tmp_path / "store", FIRST)
    write_episode(tmp_path / "store", SECOND, motion_ms=(0, 0))
    assert "nothing moved the arm" in to_dataset(tmp_path).left_out[SECOND]


def test_an_episode_with_a_gap_is_left_out_and_named(tmp_path):
    quiet = lambda stream, at_ms: stream == "wrist" and 1200 < at_ms < 1700  # noqa: E731
    write_episode(tmp_path / "store", FIRST)
    write_episode(tmp_path / "store", SECOND, duration_ms=3000, silent=quiet)
    done = to_dataset(tmp_path)
    assert done.written == [FIRST]
    assert "1.3 s in: wrist: newest frame is" in done.left_out[SECOND]


def test_an_episode_with_a_gap_can_be_split(tmp_path):
    quiet = lambda stream, at_ms: stream == "wrist" and 1200 < at_ms < 1700  # noqa: E731
    write_episode(tmp_path / "store", FIRST, duration_ms=3000, silent=quiet)
    done = to_dataset(tmp_path, split=True)
    assert done.written == [FIRST, FIRST]
    assert [entry.meta["piece"] for entry in done.dataset.episodes] == [0, 1]
    for entry in done.dataset.episodes:
        assert set(np.diff(done.dataset.rows(entry.index).stamp_ns)) == {CONTRACT.period_ns}
    assert check(tmp_path / "set").problems == []


def test_takeovers_are_marked(tmp_path):
    write_episode(tmp_path / "store", takeover_ms=(500, 1000))
    rows = to_dataset(tmp_path).dataset.rows(0)
    at_ms = (rows.stamp_ns - START_NS) / NS_PER_MS
    np.testing.assert_array_equal(rows.intervention, (at_ms > 510) & (at_ms < 1007))


def test_half_the_rate_is_kept_with_its_true_stamps(tmp_path):
    write_episode(tmp_path / "store", silent=lambda stream, at_ms: stream == "wrist" and at_ms % 66 > 33)
    done = to_dataset(tmp_path)
    rows = done.dataset.rows(0)
    age_ms = (rows.stamp_ns - rows.frame_stamp_ns[:, 1]) / NS_PER_MS
    assert 33 < age_ms.max() < 70
    assert check(tmp_path / "set").largest_frame_age_ms == pytest.approx(age_ms.max())


def test_pictures_are_shrunk_by_the_only_preprocessing(tmp_path):
    write_episode(tmp_path / "store", size=(64, 48))
    done = to_dataset(tmp_path, size=(32, 32))
    want = view_of(picture(3, (64, 48)), view_width=32, view_height=32)
    assert np.abs(done.dataset.frame(0, "wrist", 0).astype(int) - want).mean() < 4


def test_episodes_of_different_contracts_are_refused_by_name(tmp_path):
    write_episode(tmp_path / "store", FIRST)
    write_episode(tmp_path / "store", SECOND, contract=DataContract(cameras=CONTRACT.cameras, period_ns=50 * NS_PER_MS))
    with pytest.raises(ContractMismatchError, match=f"{SECOND} .*period_ns 50000000 against 100000000"):
        to_dataset(tmp_path)
    assert not (tmp_path / "set").exists()


def test_episodes_of_different_sizes_are_refused_by_name(tmp_path):
    write_episode(tmp_path / "store", FIRST)
    write_episode(tmp_path / "store", SECOND, size=(64, 48))
    with pytest.raises(DatasetError, match=f"{SECOND} was recorded at .*give one --size"):
        to_dataset(tmp_path)


def test_damaged_episodes_are_left_out_and_named(tmp_path):
    write_episode(tmp_path / "store", FIRST)
    bag = write_episode(tmp_path / "store", SECOND) / f"{SECOND}_0.mcap"
    bag.write_bytes(bag.read_bytes()[: bag.stat().st_size // 2])
    done = to_dataset(tmp_path)
    assert done.written == [FIRST]
    assert "mola episode recover" in done.left_out[SECOND]


def test_nothing_to_convert_says_why(tmp_path):
    write_episode(tmp_path / "store", FIRST, outcome=Outcome.UNKNOWN)
    with pytest.raises(EpisodeError, match=f"{FIRST}: outcome unknown"):
        to_dataset(tmp_path)
    with pytest.raises(EpisodeError, match="neither an episode nor a folder of episodes"):
        find_episodes([tmp_path / "nowhere"])


def test_an_existing_dataset_is_not_touched(tmp_path):
    write_episode(tmp_path / "store", FIRST)
    to_dataset(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "set").rglob("*")}
    with pytest.raises(DatasetError, match="exists already"):
        to_dataset(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "set").rglob("*")} == before


def test_appending_takes_only_what_is_new(tmp_path):
    write_episode(tmp_path / "store", FIRST)
    to_dataset(tmp_path)
    write_episode(tmp_path / "store", SECOND, instruction="open the drawer")
    done = to_dataset(tmp_path, append=True)
    assert done.written == [FIRST, SECOND]
    assert done.left_out == {FIRST: "it is in the dataset already"}
    assert check(tmp_path / "set").problems == []


def test_appending_nothing_new_says_so(tmp_path):
    write_episode(tmp_path / "store", FIRST)
    to_dataset(tmp_path)
    with pytest.raises(DatasetError, match=r"every episode is in .*set already"):
        to_dataset(tmp_path, append=True)
    assert not (tmp_path / "set.partial").exists()


class Killed(BaseException):
    pass


def test_a_conversion_that_died_is_continued(tmp_path, monkeypatch):
    write_episode(tmp_path / "store", FIRST)
    write_episode(tmp_path / "store", SECOND)

    def die(line):
        if line.startswith("writing 2"):
            raise Killed

    with pytest.raises(Killed):
        convert(find_episodes([tmp_path / "store"]), tmp_path / "set", options=ConversionOptions(), progress=die)
    staged = tmp_path / "set.partial/episodes" / FIRST / "rows.parquet"
    before = staged.read_bytes()
    with pytest.raises(DatasetError, match="resume it, or delete it"):
        to_dataset(tmp_path)
    done = to_dataset(tmp_path, resume=True)
    assert done.written == [FIRST, SECOND]
    assert before
    assert check(tmp_path / "set").problems == []


# --- check and info --------------------------------------------------------------------------------------------------


@pytest.fixture
def dataset(tmp_path):
    write_episode(tmp_path / "store", FIRST)
    write_episode(tmp_path / "store", SECOND, instruction="open the drawer")
    return to_dataset(tmp_path).dataset


def rewrite(path, change):
    table = pq.read_table(path)
    pq.write_table(change(table), path)


def with_nan(table):
    values = np.array(table.column("action").to_pylist(), dtype=np.float32)
    values[3, 2] = np.nan
    at = table.column_names.index("action")
    array = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), 7)
    return table.set_column(at, "action", array)


def shifted(table):
    at = table.column_names.index("stamp_ns")
    stamps = table.column("stamp_ns").to_numpy().copy()
    stamps[5] = stamps[4]
    return table.set_column(at, "stamp_ns", pa.array(stamps))


@pytest.mark.parametrize(
    ("change", "message"),
    [(with_nan, "episode 0: action of row 3 is not finite"), (shifted, "stamp of row 5 does not advance")],
)
def test_check_finds_bad_rows(dataset, change, message):
    rewrite(dataset.path / "data/chunk-000/file-000.parquet", change)
    assert any(message in problem for problem in check(dataset.path).problems)


def test_check_finds_statistics_that_are_not_the_rows(dataset):
    path = dataset.path / "meta/stats.json"
    stats = json.loads(path.read_text())
    stats["action"]["mean"][0] += 0.1
    path.write_text(json.dumps(stats))
    assert check(dataset.path).problems == [
        "meta/stats.json: the statistics of action are not those of the episodes together"
    ]


def test_check_finds_a_video_of_another_length(dataset, tmp_path):
    write_episode(tmp_path / "other", duration_ms=1200)
    other = convert([tmp_path / "other" / FIRST], tmp_path / "short", options=ConversionOptions()).dataset
    video = "videos/observation.images.wrist/chunk-000/file-000.mp4"
    (dataset.path / video).write_bytes((other.path / video).read_bytes())
    problems = check(dataset.path).problems
    assert any("its episodes have" in problem for problem in problems)
    assert any("frames when decoded" in problem for problem in problems)


def test_check_finds_what_belongs_to_no_episode(dataset):
    (dataset.path / "data/chunk-000/file-001.parquet").write_bytes(b"")
    assert any("belongs to no episode" in problem for problem in check(dataset.path).problems)


def test_check_names_a_wrong_total(dataset):
    path = dataset.path / "meta/info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"total_frames": 5}))
    assert "meta/info.json says total_frames 5" in check(dataset.path).problems[0]


def test_check_compares_contracts(dataset):
    with pytest.raises(ContractMismatchError, match="period_ns"):
        check(dataset.path, contract=DataContract(cameras=CONTRACT.cameras, period_ns=1))


def test_summary_counts(dataset):
    summary = summarise(dataset)
    assert summary.episodes == 2
    assert summary.instructions == {"press the button": 1, "open the drawer": 1}
    assert summary.outcomes == {"success": 2}
    assert summary.cameras == {"third_person": SIZE, "wrist": SIZE}
    assert summary.hours == pytest.approx(dataset.num_rows / 36_000)


# --- the commands ----------------------------------------------------------------------------------------------------


def run(*words):
    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers()
    for register in (command.register_convert, command.register_check, command.register_info):
        register(subparsers)
    arguments = parser.parse_args([str(word) for word in words])
    return arguments.run(arguments)


def test_commands(tmp_path, capsys):
    write_episode(tmp_path / "store", FIRST)
    write_episode(tmp_path / "store", SECOND, outcome=Outcome.FAILURE)
    (tmp_path / "store/.20261126-120000-0003.partial").mkdir()
    assert run("convert", tmp_path / "store", "--out", tmp_path / "set", "--size", "32x24") == 0
    said = capsys.readouterr().out
    assert f"left out {SECOND}: outcome failure" in said
    assert "left out 20261126-120000-0003: its recording was never ended; mola episode recover" in said
    assert run("info", tmp_path / "set", "--json") == 0
    assert json.loads(capsys.readouterr().out)["episodes"] == 1
    assert run("info", tmp_path / "set") == 0
    assert "press the button" in capsys.readouterr().out
    assert run("check", tmp_path / "set", "--fast") == 0
    assert "no problems" in capsys.readouterr().out
    (tmp_path / "set/videos/observation.images.wrist/chunk-000/file-000.mp4").unlink()
    assert run("check", tmp_path / "set", "--json") == 1
    assert "wrist" in json.loads(capsys.readouterr().out)["problems"][0]


@pytest.mark.parametrize(
    ("words", "message"), [(("--size", "128"), "128x128"), (("--frame-age-ms", "0"), "outside 1..10000")]
)
def test_bad_options_are_refused(tmp_path, words, message):
    write_episode(tmp_path / "store", FIRST)
    with pytest.raises(Exception, match=message):
        run("convert", tmp_path / "store", "--out", tmp_path / "set", *words)


def test_datasets_are_what_readers_read(dataset):
    assert LeRobotReader(dataset.path).contract == CONTRACT
