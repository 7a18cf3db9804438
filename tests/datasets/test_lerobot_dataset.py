"""Datasets: what is written is what is read, whole or not at all, and in the format that LeRobot loads."""

import json
import multiprocessing
import os
import pickle
import signal
import time

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from mola_core.contracts.io_spec import ContractMismatchError, DataContract
from mola_core.data.lerobot import layout
from mola_core.data.lerobot.errors import DatasetError
from mola_core.data.lerobot.reader import LeRobotReader
from mola_core.data.lerobot.writer import LeRobotWriter

CAMERAS = {"third_person": (64, 48), "wrist": (32, 32)}
CONTRACT = DataContract(cameras=tuple(CAMERAS), period_ns=100_000_000)


def picture(camera, row, episode=0):
    """A smooth picture that tells its row and episode."""
    width, height = CAMERAS[camera]
    y, x = np.mgrid[0:height, 0:width]
    return (
        np.stack([x * 3 + row * 5, y * 4 + episode * 20, np.full_like(x, 10 * row)], axis=-1)
        .clip(0, 255)
        .astype(np.uint8)
    )


def row(at, episode=0):
    return {
        "state": np.arange(13) / 10 + at,
        "action": np.arange(7) / 10 - at,
        "images": {name: picture(name, at, episode) for name in CAMERAS},
    }


def write_episode(writer, episode=0, rows=12, instruction="press the button", key=None, **meta):
    writer.begin_episode(key)
    for at in range(rows):
        writer.add_row(**row(at, episode))
    return writer.end_episode(instruction, **meta)


def writer_at(path, **options):
    return LeRobotWriter(path, contract=CONTRACT, cameras=CAMERAS, **options)


@pytest.fixture
def dataset(tmp_path):
    with writer_at(tmp_path / "set") as writer:
        for episode, (rows, words) in enumerate(
            [(12, "press the button"), (25, "open the drawer"), (1, "press the button")]
        ):
            write_episode(writer, episode, rows, words, outcome="success")
        return writer.finalize()


def test_rows_and_frames_come_back(dataset):
    assert [entry.length for entry in dataset.episodes] == [12, 25, 1]
    assert [entry.instruction for entry in dataset.episodes] == [
        "press the button",
        "open the drawer",
        "press the button",
    ]
    assert dataset.tasks == ["press the button", "open the drawer"]
    assert dataset.episodes[1].meta["outcome"] == "success"
    for entry in dataset.episodes:
        rows = dataset.rows(entry.index)
        want = [row(at, entry.index) for at in range(entry.length)]
        np.testing.assert_array_equal(rows.state, np.float32([one["state"] for one in want]))
        np.testing.assert_array_equal(rows.action, np.float32([one["action"] for one in want]))
        np.testing.assert_array_equal(rows.stamp_ns, np.arange(entry.length) * CONTRACT.period_ns)
        for camera in CAMERAS:
            frames = dataset.frames(entry.index, camera)
            wanted = np.stack([one["images"][camera] for one in want])
            assert np.abs(frames.astype(int) - wanted).mean() < 3.0


def test_random_access_gives_the_frames_of_sequential_access(dataset):
    everything = dataset.frames(1, "wrist")
    for at in (24, 3, 4, 17, 0, 11):
        np.testing.assert_array_equal(dataset.frame(1, "wrist", at), everything[at])
    np.testing.assert_array_equal(
        dataset.frames(1, "wrist", [20, 2, 2]), [everything[20], everything[2], everything[2]]
    )


def test_stamps_and_interventions_are_kept(tmp_path):
    with writer_at(tmp_path / "set") as writer:
        for at in range(3):
            writer.add_row(
                **row(at), stamp_ns=10**18 + at, frame_stamps_ns={"wrist": 10**18 + at - 7}, intervention=at == 1
            )
        writer.end_episode("press the button")
        rows = writer.finalize().rows(0)
    np.testing.assert_array_equal(rows.stamp_ns, 10**18 + np.arange(3))
    np.testing.assert_array_equal(rows.frame_stamp_ns[:, 1], 10**18 + np.arange(3) - 7)
    np.testing.assert_array_equal(rows.intervention, [False, True, False])


def test_format_is_lerobots(dataset):
    """The columns, types and paths that lerobot 0.4.4 needs; checked against the package itself by hand."""
    info = json.loads((dataset.path / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0"
    assert (info["fps"], info["total_episodes"], info["total_frames"], info["total_tasks"]) == (10, 3, 38, 2)
    assert info["features"]["observation.images.wrist"]["shape"] == [32, 32, 3]
    assert info["mola"]["contract_hash"] == CONTRACT.hash
    data = pq.read_table(dataset.path / "data/chunk-000/file-000.parquet")
    columns = {name for name, feature in info["features"].items() if feature["dtype"] != "video"}
    assert set(data.column_names) == columns
    for name, feature in info["features"].items():
        if feature["dtype"] != "video":
            kind = data.schema.field(name).type
            length = feature["shape"][0]
            assert str(kind).startswith(
                f"fixed_size_list<element: {_arrow(feature)}>[{length}]" if length > 1 else _arrow(feature)
            )
    np.testing.assert_array_equal(data.column("index").to_numpy(), np.arange(38))
    np.testing.assert_allclose(data.column("timestamp").to_numpy()[:12], np.float32(np.arange(12) / 10))
    episodes = pq.read_table(dataset.path / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    spans = [(one["dataset_from_index"], one["dataset_to_index"]) for one in episodes]
    assert spans == [(0, 12), (12, 37), (37, 38)]
    times = [
        (one["videos/observation.images.wrist/from_timestamp"], one["videos/observation.images.wrist/to_timestamp"])
        for one in episodes
    ]
    assert times == [(0.0, 1.2), (1.2, 3.7), (3.7, 3.8)]
    assert episodes[0]["tasks"] == ["press the button"]
    assert np.shape(episodes[0]["stats/observation.images.wrist/mean"]) == (3, 1, 1)
    index = json.loads(pq.read_schema(dataset.path / "meta/tasks.parquet").metadata[b"pandas"])["index_columns"]
    assert index == ["task"]


def _arrow(feature):
    return {"float32": "float", "int64": "int64", "bool": "bool"}[feature["dtype"]]


def test_videos_have_one_frame_a_row_at_its_time(dataset):
    with av.open(str(dataset.path / "videos/observation.images.wrist/chunk-000/file-000.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == 10
        times = [float(frame.pts * stream.time_base) for frame in container.decode(stream)]
    np.testing.assert_allclose(times, np.arange(38) / 10, atol=1e-9)


def test_statistics_are_those_of_the_rows(dataset):
    states = np.concatenate([dataset.rows(index).state for index in range(3)]).astype(float)
    stats = dataset.stats["observation.state"]
    np.testing.assert_allclose(stats["mean"], states.mean(axis=0))
    np.testing.assert_allclose(stats["std"], states.std(axis=0))
    np.testing.assert_allclose(stats["max"], states.max(axis=0))
    assert stats["count"] == [38]
    seen = np.stack([picture("wrist", at, 1) for at in range(0, 25, 5)])[:, ::2, ::2] / 255
    one = dataset.episode_stats()[1]["observation.images.wrist"]
    np.testing.assert_allclose(np.ravel(one["mean"]), seen.mean(axis=(0, 1, 2)), atol=1e-9)
    np.testing.assert_allclose(np.ravel(one["std"]), seen.std(axis=(0, 1, 2)), atol=1e-9)
    np.testing.assert_allclose(np.ravel(one["q50"]), np.quantile(seen, 0.5, axis=(0, 1, 2), method="inverted_cdf"))


def test_append_adds_episodes_and_leaves_the_old_ones(dataset):
    before = dataset.frames(1, "wrist")
    with writer_at(dataset.path, append=True) as writer:
        write_episode(writer, 5, 9, "grab the bowl")
        grown = writer.finalize()
    assert [entry.length for entry in grown.episodes] == [12, 25, 1, 9]
    assert grown.tasks == ["press the button", "open the drawer", "grab the bowl"]
    np.testing.assert_array_equal(grown.frames(1, "wrist"), before)
    np.testing.assert_array_equal(grown.rows(3).state, np.float32([row(at)["state"] for at in range(9)]))
    assert grown.stats["action"]["count"] == [47]
    assert not dataset.path.with_name("set.old").exists()
    assert not dataset.path.with_name("set.partial").exists()


def test_large_datasets_are_spread_over_files(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "VIDEO_FILE_S", 2.0)
    monkeypatch.setattr(layout, "DATA_FILE_MB", 0)
    with writer_at(tmp_path / "set") as writer:
        for episode in range(4):
            write_episode(writer, episode, 10)
        reader = writer.finalize()
    assert [span.first_frame for span in (entry.videos["wrist"] for entry in reader.episodes)] == [0, 10, 0, 10]
    assert reader.episodes[3].videos["wrist"].path.name == "file-001.mp4"
    assert reader.episodes[3].data_path.name == "file-003.parquet"
    assert np.abs(reader.frame(3, "wrist", 4).astype(int) - picture("wrist", 4, 3)).mean() < 3.0
    np.testing.assert_array_equal(reader.rows(3).action, np.float32([row(at)["action"] for at in range(10)]))


def _write_until_killed(path):
    with writer_at(path) as writer:
        write_episode(writer, 0)
        while True:
            writer.add_row(**row(0) | {"stamp_ns": time.monotonic_ns()})


def test_a_killed_writer_is_resumed(tmp_path):
    process = multiprocessing.get_context("fork").Process(target=_write_until_killed, args=(tmp_path / "set",))
    process.start()
    deadline = time.monotonic() + 20
    while not (tmp_path / "set.partial/episodes/episode-000000").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not (tmp_path / "set").exists()
    with pytest.raises(DatasetError, match="resume it, or delete it"):
        writer_at(tmp_path / "set")
    with writer_at(tmp_path / "set", resume=True) as writer:
        assert writer.staged_keys == ["episode-000000"]
        assert list((tmp_path / "set.partial/episodes").glob(".*")) == []  # what it had open is swept away
        write_episode(writer, 1)
        assert len(writer.finalize().episodes) == 2


def test_a_kill_while_the_dataset_is_assembled_costs_nothing(tmp_path, monkeypatch):
    with writer_at(tmp_path / "set") as writer:
        write_episode(writer, 0)
        with monkeypatch.context() as patch:
            patch.setattr("mola_core.data.lerobot.writer.put_in_place", _die)
            with pytest.raises(KeyboardInterrupt):
                writer.finalize()
    assert not (tmp_path / "set").exists()
    with writer_at(tmp_path / "set", resume=True) as writer:
        assert len(writer.finalize().episodes) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize(
    ("place", "act"),
    [
        ("staging.pq.write_table", lambda writer: write_episode(writer, 1)),
        ("staging.sync", lambda writer: write_episode(writer, 1)),
        ("assembly.pq.write_table", lambda writer: writer.finalize()),
    ],
    ids=["rows", "sync", "assembly"],
)
def test_a_full_disk_is_said_and_costs_nothing_written(tmp_path, monkeypatch, place, act):
    with writer_at(tmp_path / "set") as writer:
        write_episode(writer, 0)
        with monkeypatch.context() as patch:
            patch.setattr(f"mola_core.data.lerobot.{place}", _no_space)
            with pytest.raises(
                DatasetError, match=r"set.partial cannot be written: .*No space left .* free space there"
            ):
                act(writer)
    with writer_at(tmp_path / "set", resume=True) as writer:
        assert writer.staged_keys == ["episode-000000"]
        assert len(writer.finalize().episodes) == 1


def _no_space(*_args, **_options):
    raise OSError(28, "No space left on device")


def _die(*_):
    raise KeyboardInterrupt


def _write_one(path, key):
    with writer_at(path, resume=True) as writer:
        write_episode(writer, int(key[-1]), key=key)


def test_processes_write_side_by_side(tmp_path):
    writer_at(tmp_path / "set")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_write_one, args=(tmp_path / "set", f"seed-{n}")) for n in (2, 0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    with writer_at(tmp_path / "set", resume=True) as writer:
        reader = writer.finalize()
    assert [entry.meta["key"] for entry in reader.episodes] == ["seed-0", "seed-1", "seed-2"]


def test_reader_works_in_another_process(dataset):
    want = dataset.frame(1, "wrist", 5)  # the file is open in this process
    with multiprocessing.get_context("fork").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(dataset.frame, (1, "wrist", 5)), want)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(dataset)).frame(1, "wrist", 5), want)  # noqa: S301  # ours


def test_discarded_episode_leaves_nothing(tmp_path):
    with writer_at(tmp_path / "set") as writer:
        writer.add_row(**row(0))
        writer.discard_episode()
        assert list((tmp_path / "set.partial/episodes").iterdir()) == []
        with pytest.raises(DatasetError, match="no episode was written"):
            writer.finalize()
    assert list(tmp_path.iterdir()) == []


def test_abandoning_leaves_nothing(tmp_path):
    with writer_at(tmp_path / "set") as writer:
        write_episode(writer)
        writer.add_row(**row(0))
        writer.abandon()
    assert list(tmp_path.iterdir()) == []


def test_an_append_cut_off_between_its_renames_says_so(dataset):
    dataset.path.rename(dataset.path.with_name("set.old"))
    with pytest.raises(DatasetError, match=r"rename .*set.old to set and append again"):
        LeRobotReader(dataset.path)
    with pytest.raises(DatasetError, match="there is no dataset"):
        LeRobotReader(dataset.path.with_name("nowhere"))


BAD_ROWS = {
    "NaN": ({"state": np.full(13, np.nan)}, "row 0 of episode 'episode-000000' has shoulder_pan_joint = nan"),
    "length": ({"action": np.zeros(6)}, r"action of row 0 .* is float64\[6\]; the contract wants 7 floats"),
    "integers": ({"action": np.zeros(7, dtype=int)}, r"int64\[7\]"),
    "camera": ({"images": {}}, r"images of \[\]"),
    "size": (
        {"images": {"third_person": np.zeros((48, 60, 3), np.uint8), "wrist": np.zeros((32, 32, 3), np.uint8)}},
        r"third_person gives uint8\[48, 60, 3\]",
    ),
}


@pytest.mark.parametrize(("change", "message"), BAD_ROWS.values(), ids=BAD_ROWS.keys())
def test_bad_rows_are_refused_with_their_value(tmp_path, change, message):
    with writer_at(tmp_path / "set") as writer:
        with pytest.raises(DatasetError, match=message):
            writer.add_row(**row(0) | change)
        writer.add_row(**row(0))  # nothing of it was kept
        assert writer.end_episode("press the button").length == 1


def test_stamps_that_do_not_advance_are_refused(tmp_path):
    with writer_at(tmp_path / "set") as writer:
        writer.add_row(**row(0), stamp_ns=5)
        with pytest.raises(DatasetError, match="stamp 5, not later than 5"):
            writer.add_row(**row(1), stamp_ns=5)


def test_what_exists_is_never_overwritten(dataset):
    with pytest.raises(DatasetError, match="exists already"):
        writer_at(dataset.path)


def test_another_contract_is_refused(dataset):
    other = DataContract(cameras=tuple(CAMERAS), period_ns=50_000_000)
    with pytest.raises(ContractMismatchError, match="period_ns 50000000 against 100000000"):
        LeRobotWriter(dataset.path, contract=other, cameras=CAMERAS, append=True)
    with pytest.raises(DatasetError, match=r"holds wrist at \(32, 32\), now \(48, 48\)"):
        LeRobotWriter(dataset.path, contract=CONTRACT, cameras=CAMERAS | {"wrist": (48, 48)}, append=True)


def test_unusual_periods_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="70000000 ns is not a whole number"):
        LeRobotWriter(
            tmp_path / "set",
            contract=DataContract(cameras=("wrist",), period_ns=70_000_000),
            cameras={"wrist": (32, 32)},
        )


@pytest.mark.parametrize(
    "damaged",
    ["meta/info.json", "meta/stats.json", "meta/tasks.parquet", "meta/episodes/chunk-000/file-000.parquet"],
)
@pytest.mark.parametrize("missing", [True, False], ids=["missing", "truncated"])
def test_damaged_metadata_is_named(dataset, damaged, missing):
    path = dataset.path / damaged
    if missing:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DatasetError, match=r"episodes holds no table|" + damaged):
        LeRobotReader(dataset.path)


def test_damaged_data_and_videos_are_named(dataset):
    for path in dataset.path.glob("*/*/*/*.mp4"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for path in dataset.path.glob("data/*/*.parquet"):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DatasetError, match=r"data/chunk-000/file-000.parquet"):
        dataset.rows(0)
    with pytest.raises(DatasetError, match=r"wrist/chunk-000/file-000.mp4"):
        dataset.frames(1, "wrist")


def test_requests_outside_the_dataset_are_refused(dataset):
    with pytest.raises(DatasetError, match=r"0\.\.2, there is no episode 3"):
        dataset.rows(3)
    with pytest.raises(DatasetError, match="no row 25"):
        dataset.frame(1, "wrist", 25)
    with pytest.raises(DatasetError, match="not 'top'"):
        dataset.frame(1, "top", 0)


def test_foreign_datasets_are_refused(dataset):
    path = dataset.path / "meta/info.json"
    info = json.loads(path.read_text())
    path.write_text(json.dumps(info | {"codebase_version": "v2.1"}))
    with pytest.raises(DatasetError, match=r"LeRobot v2.1; only v3.0"):
        LeRobotReader(dataset.path)
    path.write_text(json.dumps({name: value for name, value in info.items() if name != "mola"}))
    with pytest.raises(DatasetError, match="carries no data contract"):
        LeRobotReader(dataset.path)
    info["mola"]["contract"]["period_ns"] += 1
    path.write_text(json.dumps(info))
    with pytest.raises(DatasetError, match="does not belong to its contract"):
        LeRobotReader(dataset.path)
