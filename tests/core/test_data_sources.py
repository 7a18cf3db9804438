"""Foreign datasets, on tiny files that are written here in their real layouts."""

import json
import os
import pickle
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import av
import cv2
import h5py
import numpy as np
import pytest

from mola_core.contracts.io_spec import CameraView, DataContract
from mola_core.data.errors import BadFileError, BadSourceFileError, DataError
from mola_core.data.lerobot.writer import LeRobotWriter
from mola_core.data.opening import open_episodes, open_samples
from mola_core.data.sample import WindowSpec
from mola_core.data.sources.calvin import CalvinEpisodes
from mola_core.data.sources.libero import LiberoEpisodes
from mola_core.data.sources.restricted_pickle import load_object_npy
from mola_core.data.sources.rlds import RldsEpisodes
from mola_core.data.sources.tfrecord import Example, masked_crc32c, records
from mola_core.data.sources.video_folder import VideoFolderEpisodes
from mola_core.training.recipes import recipe_named

# --- LIBERO ---


def write_libero(path: Path, *, rows: Sequence[int] = (6, 4), instruction: str = "put the bowl on the plate") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["problem_info"] = json.dumps({"language_instruction": [instruction], "problem_name": "libero"})
        for demo, length in enumerate(rows):
            group = data.create_group(f"demo_{demo}")
            group["actions"] = rng.uniform(-1, 1, size=(length, 7))
            obs = group.create_group("obs")
            for name, width in (("ee_states", 6), ("gripper_states", 2), ("joint_states", 7)):
                obs[name] = rng.normal(size=(length, width))
            for name in ("agentview_rgb", "eye_in_hand_rgb"):
                pictures = np.zeros((length, 32, 32, 3), np.uint8)
                pictures[:, :16] = np.arange(length, dtype=np.uint8)[:, None, None, None] + 1  # stored upside down
                obs[name] = pictures
    return path


def test_libero_demos_are_episodes(tmp_path: Path) -> None:
    file = write_libero(tmp_path / "libero_goal" / "put_the_bowl_demo.hdf5")
    source = open_episodes(tmp_path)
    assert isinstance(source, LiberoEpisodes)
    assert [header.length for header in source.episodes] == [6, 4]
    assert source.episodes[0].instruction == "put the bowl on the plate"
    with h5py.File(file) as content:
        np.testing.assert_allclose(source.numbers(1).action, content["data/demo_1/actions"][()], rtol=1e-6)
        np.testing.assert_allclose(
            source.numbers(1).state[:, 6:], content["data/demo_1/obs/gripper_states"][()], rtol=1e-6
        )


def test_libero_pictures_are_upright(tmp_path: Path) -> None:
    write_libero(tmp_path / "a.hdf5")
    frames = open_episodes(tmp_path).frames(0, "wrist", [4, 1, 4])
    assert frames[:, 31, 0, 0].tolist() == [5, 2, 5]
    assert not frames[:, 0].any()


def test_libero_actions_begin_at_their_row(tmp_path: Path) -> None:
    """They are deltas that lead from a row to the next."""
    write_libero(tmp_path / "a.hdf5")
    view = tuple(CameraView(camera=name, width=32, height=32) for name in ("third_person", "wrist"))
    source = open_samples(
        tmp_path, WindowSpec(views=view, offsets=(0, 2), horizon=2), cache_folder=tmp_path, quiet=True
    )
    np.testing.assert_allclose(source.sample(1).motion.actions, open_episodes(tmp_path).numbers(0).action[1:3])


def test_bad_libero_file_is_named_or_skipped(tmp_path: Path) -> None:
    write_libero(tmp_path / "good.hdf5")
    bad = write_libero(tmp_path / "truncated.hdf5")
    os.truncate(bad, bad.stat().st_size // 2)
    with pytest.raises(BadFileError, match=r"truncated\.hdf5: no readable HDF5"):
        open_episodes(tmp_path)
    source = open_episodes(tmp_path, skip_bad=True)
    assert len(source.episodes) == 2
    assert [error.path.name for error in source.skipped if isinstance(error, BadFileError)] == ["truncated.hdf5"]


def test_libero_without_instruction_is_refused(tmp_path: Path) -> None:
    write_libero(tmp_path / "a.hdf5", instruction=" ")
    with pytest.raises(DataError, match="no instruction"):
        open_episodes(tmp_path)


def test_libero_with_unequal_lengths_is_refused(tmp_path: Path) -> None:
    file = write_libero(tmp_path / "a.hdf5")
    with h5py.File(file, "a") as content:
        del content["data/demo_0/actions"]
        content["data/demo_0/actions"] = np.zeros((3, 7))
    with pytest.raises(BadFileError, match=r"rows"):
        open_episodes(tmp_path)


def test_libero_nan_is_named(tmp_path: Path) -> None:
    file = write_libero(tmp_path / "a.hdf5")
    with h5py.File(file, "a") as content:
        content["data/demo_0/actions"][2, 6] = np.nan
    with pytest.raises(DataError, match="demo_0: action has gripper_close = nan in row 2"):
        open_episodes(tmp_path).numbers(0)


# --- CALVIN ---


def write_calvin(path: Path, *, frames: int = 10) -> Path:
    (path / "lang_annotations").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(100, 100 + frames):
        np.savez(
            path / f"episode_{number:07d}.npz",
            rgb_static=np.full((200, 200, 3), number, np.uint8),
            rgb_gripper=np.full((84, 84, 3), number + 1, np.uint8),
            robot_obs=rng.normal(size=15),
            scene_obs=rng.normal(size=24),
            rel_actions=rng.uniform(-1, 1, size=7),
            actions=rng.normal(size=7),
        )
    annotations = {
        "language": {"ann": ["push the red block", "open the drawer"], "task": ["a", "b"], "emb": np.zeros((2, 1, 4))},
        "info": {"episodes": [], "indx": [(100, 104), (np.int64(103), np.int64(109))]},
    }
    np.save(path / "lang_annotations" / "auto_lang_ann.npy", annotations)  # type: ignore[arg-type]  # a pickled dictionary, as theirs
    return path


def test_calvin_segments_are_episodes(tmp_path: Path) -> None:
    source = open_episodes(write_calvin(tmp_path / "training"))
    assert isinstance(source, CalvinEpisodes)
    assert [(header.length, header.instruction) for header in source.episodes] == [
        (5, "push the red block"),
        (7, "open the drawer"),
    ]
    assert source.frames(1, "third_person", [6, 0])[:, 0, 0, 0].tolist() == [109, 103]
    assert source.frames(1, "wrist", [0]).shape == (1, 84, 84, 3)
    numbers = source.numbers(0)
    with np.load(tmp_path / "training" / "episode_0000102.npz") as frame:
        np.testing.assert_allclose(numbers.action[2], frame["rel_actions"], rtol=1e-6)
    assert numbers.state.shape == (5, 15)


def test_missing_calvin_frame_is_named_or_its_segment_skipped(tmp_path: Path) -> None:
    path = write_calvin(tmp_path / "training")
    (path / "episode_0000108.npz").unlink()
    with pytest.raises(BadFileError, match=r"episode_0000108\.npz: missing, but annotated as 'open the drawer'"):
        open_episodes(path)
    source = open_episodes(path, skip_bad=True)
    assert (len(source.episodes), len(source.skipped)) == (1, 1)


def test_truncated_calvin_frame_is_named(tmp_path: Path) -> None:
    path = write_calvin(tmp_path / "training")
    os.truncate(path / "episode_0000102.npz", 1000)
    with pytest.raises(BadFileError, match=r"episode_0000102\.npz: no readable frame"):
        open_episodes(path).numbers(0)


class Attack:
    """What a stranger might put into a pickle."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("pwned",)


def test_annotations_cannot_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("attack.npy", np.array({"language": Attack()}, dtype=object))
    with pytest.raises(BadFileError, match=r"it names posix\.mkdir"):
        load_object_npy(Path("attack.npy"))
    assert not Path("pwned").exists()
    np.save("plain.npy", np.zeros(3))
    with pytest.raises(BadFileError, match="not of objects"):
        load_object_npy(Path("plain.npy"))


# --- RLDS ---


def varint(value: int) -> bytes:
    out = b""
    value &= (1 << 64) - 1
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def feature(values: Sequence[bytes] | np.ndarray) -> bytes:
    """A tf.train.Feature: bytes, packed floats, or packed int64."""
    if isinstance(values, np.ndarray):
        if values.dtype.kind == "f":
            return field(2, field(1, values.astype("<f4").tobytes()))
        return field(3, field(1, b"".join(varint(int(value)) for value in values)))
    return field(1, b"".join(field(1, value) for value in values))


def record(features: Mapping[str, Sequence[bytes] | np.ndarray]) -> bytes:
    entries = b"".join(
        field(1, field(1, name.encode()) + field(2, feature(values))) for name, values in features.items()
    )
    content = field(1, entries)
    head = struct.pack("<Q", len(content))
    return head + struct.pack("<I", masked_crc32c(head)) + content + struct.pack("<I", masked_crc32c(content))


def pictures(length: int) -> list[bytes]:
    return [
        cv2.imencode(".png", np.full((32, 40, 3), (0, 0, 10 * row), np.uint8))[1].tobytes() for row in range(length)
    ]


def rt_1(length: int, instruction: str = "pick apple") -> dict[str, Sequence[bytes] | np.ndarray]:
    rng = np.random.default_rng(length)
    return {
        "steps/observation/image": pictures(length),
        "steps/observation/natural_language_instruction": [instruction.encode()] * length,
        "steps/observation/base_pose_tool_reached": rng.normal(size=7 * length),
        "steps/observation/gripper_closed": rng.uniform(size=length),
        "steps/action/world_vector": rng.normal(size=3 * length),
        "steps/action/rotation_delta": rng.normal(size=3 * length),
        "steps/action/gripper_closedness_action": np.arange(length) - 1.0,
        "steps/is_first": np.array([1] + [0] * (length - 1)),
    }


def bridge(length: int) -> dict[str, Sequence[bytes] | np.ndarray]:
    rng = np.random.default_rng(length)
    return {
        "steps/observation/image": pictures(length),
        "steps/observation/natural_language_instruction": [b"open the microwave"] * length,
        "steps/observation/state": rng.normal(size=7 * length),
        "steps/action/world_vector": rng.normal(size=3 * length),
        "steps/action/rotation_delta": rng.normal(size=3 * length),
        "steps/action/open_gripper": np.array([1, 0] * length)[:length],
    }


def bridge_v2(length: int) -> dict[str, Sequence[bytes] | np.ndarray]:
    rng = np.random.default_rng(length)
    return {
        "steps/observation/image_0": pictures(length),
        "steps/language_instruction": [b"close the drawer"] * length,
        "steps/observation/state": rng.normal(size=7 * length),
        "steps/action": rng.normal(size=7 * length),
    }


def write_rlds(path: Path, shards: Sequence[Sequence[bytes]], *, name: str = "fractal20220817_data") -> list[Path]:
    path.mkdir(parents=True, exist_ok=True)
    files = [path / f"{name}-train.tfrecord-{at:05d}-of-{len(shards):05d}" for at in range(len(shards))]
    for file, contents in zip(files, shards, strict=True):
        file.write_bytes(b"".join(contents))
    return files


def test_crc_is_castagnolis() -> None:
    """The check value of CRC-32C for "123456789" is E3069283; masked as TensorFlow does it."""
    rotated = (0xE3069283 >> 15 | 0xE3069283 << 17) & 0xFFFFFFFF
    assert masked_crc32c(b"123456789") == (rotated + 0xA282EAD8) & 0xFFFFFFFF


def test_rt_1_records_are_episodes(tmp_path: Path) -> None:
    write_rlds(tmp_path, [[record(rt_1(5)), record(rt_1(3, "close drawer"))], [record(rt_1(4))]])
    source = open_episodes(tmp_path)
    assert isinstance(source, RldsEpisodes)
    assert source.contract.robot == "google_robot"
    assert [(header.length, header.instruction) for header in source.episodes] == [
        (5, "pick apple"),
        (3, "close drawer"),
        (4, "pick apple"),
    ]
    numbers, features = source.numbers(1), rt_1(3)
    np.testing.assert_allclose(numbers.action[:, :3].ravel(), features["steps/action/world_vector"], rtol=1e-6)
    np.testing.assert_allclose(numbers.action[:, 6], [-1, 0, 1])
    assert source.frames(0, "third_person", [4, 0])[:, 0, 0].tolist() == [[40, 0, 0], [0, 0, 0]], "RGB"


@pytest.mark.parametrize(("features", "name"), [(bridge, "open the microwave"), (bridge_v2, "close the drawer")])
def test_both_forms_of_bridge_are_known(tmp_path: Path, features: object, name: str) -> None:
    write_rlds(tmp_path, [[record(features(4))]], name="bridge")  # type: ignore[operator]
    source = open_episodes(tmp_path)
    assert source.contract.robot == "widow_x"
    assert source.episodes[0].instruction == name
    assert source.numbers(0).action.shape == (4, 7)


def test_negative_integers_and_unpacked_floats_are_read(tmp_path: Path) -> None:
    unpacked = b"".join(varint(1 << 3 | 5) + struct.pack("<f", value) for value in (0.5, -2.0))
    entries = field(1, field(1, b"f") + field(2, field(2, unpacked)))
    entries += field(1, field(1, b"i") + field(2, feature(np.array([-3, 300]))))
    content = field(1, entries)
    head = struct.pack("<Q", len(content))
    file = tmp_path / "a-train.tfrecord"
    file.write_bytes(head + struct.pack("<I", masked_crc32c(head)) + content + b"\0" * 4)
    example = Example(next(records(file)))
    assert example.floats("f").tolist() == [0.5, -2.0]
    assert example.integers("i").tolist() == [-3, 300]
    with pytest.raises(BadFileError, match="'f' is of kind 2"):
        example.blobs("f")


def test_truncated_shard_is_named_or_skipped(tmp_path: Path) -> None:
    files = write_rlds(tmp_path, [[record(rt_1(5))], [record(rt_1(4)), record(rt_1(6))]])
    os.truncate(files[1], files[1].stat().st_size - 10)
    with pytest.raises(BadFileError, match=r"00001-of-00002: ends inside the record at byte \d+, 10 bytes short"):
        open_episodes(tmp_path)
    source = open_episodes(tmp_path, skip_bad=True)
    assert (len(source.episodes), len(source.skipped)) == (1, 1)


def test_damaged_length_is_noticed(tmp_path: Path) -> None:
    (file,) = write_rlds(tmp_path, [[record(rt_1(5))]])
    content = bytearray(file.read_bytes())
    content[2] ^= 1
    file.write_bytes(content)
    with pytest.raises(BadFileError, match="damaged length of the record at byte 0"):
        open_episodes(tmp_path)


def test_unknown_features_are_named(tmp_path: Path) -> None:
    write_rlds(tmp_path, [[record({"steps/reward": np.zeros(3)})]])
    with pytest.raises(BadFileError, match="features steps/reward are of none of rt_1, bridge, bridge_v2"):
        open_episodes(tmp_path)


def test_broken_picture_and_missing_words_are_named(tmp_path: Path) -> None:
    broken = rt_1(3) | {"steps/observation/image": [*pictures(2), b"no picture"]}
    write_rlds(tmp_path / "a", [[record(broken)]])
    with pytest.raises(BadFileError, match="picture 2 cannot be decoded"):
        open_episodes(tmp_path / "a").frames(0, "third_person")
    write_rlds(tmp_path / "b", [[record(rt_1(3, ""))]])
    with pytest.raises(DataError, match="no instruction"):
        open_episodes(tmp_path / "b")


# --- videos ---


def write_videos(path: Path) -> Path:
    (path / "videos").mkdir(parents=True)
    for clip in ("7", "12"):
        with av.open(str(path / "videos" / f"{clip}.webm"), "w") as container:
            stream = container.add_stream("libvpx", rate=12)
            stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"  # type: ignore[union-attr]
            for row in range(9):
                frame = av.VideoFrame.from_ndarray(np.full((32, 48, 3), 20 * row, np.uint8), format="rgb24")
                container.mux(stream.encode(frame))  # type: ignore[union-attr]
            container.mux(stream.encode())  # type: ignore[union-attr]
    labels = [{"id": "7", "label": "pushing a cup"}, {"id": "12", "label": "lifting a pen"}, {"id": "99", "label": "x"}]
    (path / "train.json").write_text(json.dumps(labels), encoding="utf-8")
    return path


def test_captioned_clips_are_episodes(tmp_path: Path) -> None:
    source = open_episodes(write_videos(tmp_path))
    assert isinstance(source, VideoFolderEpisodes)
    assert [(header.length, header.instruction) for header in source.episodes] == [
        (9, "lifting a pen"),
        (9, "pushing a cup"),
    ]
    frames = source.frames(0, "third_person", [8, 2])
    assert frames.shape == (2, 32, 48, 3)
    assert abs(int(frames[0].mean()) - 160) < 8
    assert source.numbers(0).action.shape == (9, 0)


def test_clips_serve_for_pictures_alone(tmp_path: Path) -> None:
    views = (CameraView(camera="third_person", width=32, height=32),)
    with pytest.raises(DataError, match="no actions"):
        open_samples(write_videos(tmp_path), WindowSpec(views=views, offsets=(0, 2), horizon=4), cached=False)
    source = open_samples(tmp_path, WindowSpec(views=views, offsets=(0, 2), horizon=0), cached=False)
    assert source.sample(3).frames.shape == (1, 2, 32, 32, 3)


def test_bad_clip_is_named_or_skipped(tmp_path: Path) -> None:
    write_videos(tmp_path)
    os.truncate(tmp_path / "videos" / "7.webm", 40)
    with pytest.raises(BadFileError, match=r"7\.webm"):
        open_episodes(tmp_path)
    assert len(open_episodes(tmp_path, skip_bad=True).skipped) == 1


def test_offsets_are_times_where_pictures_mix(tmp_path: Path) -> None:
    """Rows of 100 ms are asked for; CALVIN's are 33 ms, RT-1's 333 ms."""
    contract = DataContract(cameras=("third_person",), period_ns=100_000_000)
    window = WindowSpec(views=(CameraView(camera="third_person", width=32, height=32),), offsets=(0, 1, 2), horizon=0)
    write_rlds(tmp_path / "rt_1", [[record(rt_1(9))]])
    write_calvin(tmp_path / "calvin")
    slow = open_samples(tmp_path / "rt_1", window, contract=contract, cached=False)
    fast = open_samples(tmp_path / "calvin", window, contract=contract, cached=False)
    assert slow.sample(0).frames[0, :, 0, 0, 0].tolist() == [0, 10, 20], "not nearer than its own rows"
    number = next(at for at in range(len(fast)) if tuple(fast.index[at]) == (1, 0))
    assert fast.sample(number).frames[0, :, 0, 0, 0].tolist() == [103, 106, 109]


# --- views larger than the frames ---


def write_foreign_lerobot(path: Path) -> None:
    contract = DataContract(robot="franka", cameras=("third_person", "wrist"), period_ns=100_000_000)
    with LeRobotWriter(path, contract=contract, cameras=dict.fromkeys(contract.cameras, (64, 48))) as writer:
        for row in range(4):
            pictures_ = dict.fromkeys(contract.cameras, np.full((48, 64, 3), 40 * row, np.uint8))
            writer.add_row(state=np.zeros(13), action=np.zeros(7), images=pictures_)
        writer.end_episode("wait")
        writer.finalize()


FORMATS: dict[str, Callable[[Path], object]] = {
    "libero": lambda path: write_libero(path / "a.hdf5"),
    "calvin": write_calvin,
    "rt_1": lambda path: write_rlds(path, [[record(rt_1(5))]]),
    "bridge": lambda path: write_rlds(path, [[record(bridge(5))]], name="bridge"),
    "bridge_v2": lambda path: write_rlds(path, [[record(bridge_v2(5))]], name="bridge"),
    "videos": write_videos,
    "lerobot": write_foreign_lerobot,
}
FULL = recipe_named("full").io


@pytest.mark.parametrize("kept", [True, False], ids=["cached", "decoded"])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_fills_the_full_recipes_views(name: str, kept: bool, tmp_path: Path) -> None:
    """Whose frames are all smaller; a camera that the format does not have stays black and masked."""
    FORMATS[name](tmp_path / name)
    window = WindowSpec(views=FULL.views, offsets=(0, 1), horizon=0)
    source = open_samples(
        tmp_path / name, window, contract=FULL.contract, cached=kept, cache_folder=tmp_path / "cache", quiet=True
    )
    sample = source.sample(0)
    assert sample.frames.shape == (2, 2, 256, 256, 3)
    stored = open_episodes(tmp_path / name)
    for number, camera in enumerate(FULL.contract.cameras):
        there = camera in stored.contract.cameras
        assert sample.frame_mask[number].all() == there
        if there:
            (frame,) = stored.frames(0, camera, [0])
            side = min(frame.shape[:2])
            left, top = (frame.shape[1] - side) // 2, (frame.shape[0] - side) // 2
            middle = frame[top : top + side, left : left + side]
            np.testing.assert_allclose(sample.frames[number, 0].mean(axis=(0, 1)), middle.mean(axis=(0, 1)), atol=2)


@pytest.mark.parametrize("kept", [True, False], ids=["cached", "decoded"])
def test_what_the_rig_itself_shows_is_never_enlarged(kept: bool, tmp_path: Path) -> None:
    """Pictures under the recipe's own contract, and any where no recipe is named; not even out of a cache of enlarged ones."""
    write_calvin(tmp_path / "calvin")
    own = open_episodes(tmp_path / "calvin").contract
    window = WindowSpec(views=FULL.views, offsets=(0, 1), horizon=0)
    open_samples(tmp_path / "calvin", window, contract=FULL.contract, cache_folder=tmp_path / "cache", quiet=True)
    for contract in (own, None):
        with pytest.raises(
            DataError, match=r"/calvin, episode 0, camera third_person: a frame of 200 x 200 is too small"
        ):
            open_samples(
                tmp_path / "calvin", window, contract=contract, cached=kept, cache_folder=tmp_path / "cache", quiet=True
            ).sample(0)


def test_pictures_of_unlike_sizes_are_named(tmp_path: Path) -> None:
    """What numpy says of them names neither file nor episode."""
    odd = cv2.imencode(".png", np.zeros((16, 20, 3), np.uint8))[1].tobytes()
    write_rlds(tmp_path / "rt_1", [[record(rt_1(3) | {"steps/observation/image": [*pictures(2), odd]})]])
    views = (CameraView(camera="third_person", width=16, height=16),)
    with pytest.raises(DataError, match=r"/rt_1, episode 0, camera third_person: .*same shape"):
        open_samples(
            tmp_path / "rt_1", WindowSpec(views=views, offsets=(0, 1), horizon=0), cache_folder=tmp_path, quiet=True
        )


# --- files whose damage shows late ---


def test_libero_file_damaged_inside_is_named_when_it_is_read(tmp_path: Path) -> None:
    """It opens and lists its demos; what is wrong is met in the middle of training, and the way on is said."""
    file = write_libero(tmp_path / "a.hdf5")
    with h5py.File(file, "a") as content:
        obs = content["data/demo_0/obs"]
        del obs["agentview_rgb"]
        noise = np.random.default_rng(0).integers(0, 255, size=(6, 32, 32, 3), dtype=np.uint8)
        obs.create_dataset("agentview_rgb", data=noise, chunks=(6, 32, 32, 3), compression="gzip")
        at = obs["agentview_rgb"].id.get_chunk_info(0).byte_offset
    with file.open("r+b") as raw:
        raw.seek(at)
        raw.write(b"\0" * 200)
    source = open_episodes(tmp_path)
    advice = r"repair it, or take it away; --skip-bad leaves out what is bad or missing"
    with pytest.raises(BadFileError, match=rf"a\.hdf5: damaged inside .*; {advice}"):
        source.frames(0, "third_person", [2])


def test_a_dataset_without_a_good_file_is_refused_even_so(tmp_path: Path) -> None:
    bad = write_libero(tmp_path / "a.hdf5")
    os.truncate(bad, bad.stat().st_size // 2)
    with pytest.raises(DataError, match=r"all 1 files are bad, the first: .*a\.hdf5"):
        open_episodes(tmp_path, skip_bad=True)


def test_errors_about_files_cross_process_borders() -> None:
    error = pickle.loads(pickle.dumps(BadSourceFileError(Path("a.hdf5"), "no data")))  # noqa: S301  # our own bytes
    assert (type(error), error.path, error.reason) == (BadSourceFileError, Path("a.hdf5"), "no data")
