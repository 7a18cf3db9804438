"""A stream of numbered messages to record, and what is found of it again."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mola_core.contracts.clock import SystemClock
from mola_core.contracts.io_spec import DataContract
from mola_core.data.episodes import layout
from mola_core.data.episodes.bag import Bag
from mola_core.data.episodes.definitions import Definitions
from mola_core.data.episodes.meta import EpisodeMeta, EpisodeStreams, Outcome, SoftwareState
from mola_core.data.episodes.recording import Recording, RecordingLimits
from mola_core.data.episodes.rosbag2 import Qos, RecordedTopic

CLOCK = SystemClock()
CONTRACT = DataContract(cameras=("wrist",), period_ns=100_000_000)
START_NS = 1_790_000_000_000_000_000
PERIOD_NS = 10_000_000
HASH = "RIHS01_" + "ab" * 32
NUMBER = "test_msgs/msg/Number"


def write_share(root: Path) -> Path:
    """Share folders of two interface packages."""
    for package, message, text in (
        ("builtin_interfaces", "Time", "int32 sec\nuint32 nanosec\n"),
        ("test_msgs", "Number", "# what is counted\nbuiltin_interfaces/Time stamp\nuint64 value\nuint8[] padding\n"),
    ):
        folder = root / package / "msg"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{message}.msg").write_text(text)
        hashes = [{"type_name": f"{package}/msg/{message}", "hash_string": HASH}]
        (folder / f"{message}.json").write_text(json.dumps({"type_hashes": hashes}))
    return root


def definitions(root: Path) -> Definitions:
    share = write_share(root)

    def find(package: str) -> Path:
        if not (share / package).is_dir():
            raise LookupError(package)
        return share / package

    return Definitions(find)


def topics(root: Path, *names: str) -> list[RecordedTopic]:
    number = definitions(root).of(NUMBER)
    return [RecordedTopic(name, number, Qos(10, "reliable", "volatile")) for name in names]


def number_message(value: int, *, padding: int = 0) -> bytes:
    """CDR, little-endian."""
    seconds, nanoseconds = divmod(START_NS + value * PERIOD_NS, 1_000_000_000)
    head = b"\x00\x01\x00\x00" + struct.pack("<iIQI", seconds, nanoseconds, value, padding)
    return head + bytes([value % 251]) * padding


def new_meta(*, episode_id: str = "20261126-120000-00aa", **changes: Any) -> EpisodeMeta:
    fields: dict[str, Any] = {
        "episode_id": episode_id,
        "instruction": "stack the blocks",
        "operator": "ada",
        "started_ns": START_NS,
        "contract": CONTRACT,
        "contract_hash": CONTRACT.hash,
        "site_name": "bench",
        "site": {"name": "bench"},
        "streams": EpisodeStreams(robot_state="/s", commanded="/c", action_chunk="/p", cameras={}),
        "software": SoftwareState(version="0", commit=None, dirty=None),
    }
    return EpisodeMeta(**{**fields, **changes})


SMALL_CHUNKS = RecordingLimits(chunk_bytes=2000, ballast_bytes=1 << 20)


class Bench:
    """A store, and recordings of two streams of numbers into it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = root / "store"
        self.share = root / "share"

    def recording(self, *, limits: RecordingLimits = SMALL_CHUNKS, **options: Any) -> Recording:
        meta = options.pop("meta", None) or new_meta()
        names = options.pop("names", ("/a", "/b"))
        return Recording(
            self.store, meta=meta, topics=topics(self.share, *names), clock=CLOCK, limits=limits, **options
        )

    def record(self, count: int, *, padding: int = 20, **options: Any) -> Path:
        """A finished episode of ``count`` messages on each stream."""
        recording = self.recording(**options)
        recording.start()
        offer_numbers(recording, range(count), padding=padding)
        return recording.finish(outcome=Outcome.SUCCESS, ended_by="the operator")

    def cut_off(self, count: int, *, padding: int = 20, meta: EpisodeMeta | None = None) -> Path:
        """A folder as a killed recorder leaves it: chunks, then nothing."""
        meta = meta or new_meta()
        episode = self.record(count, padding=padding, meta=meta)
        folder = layout.partial_folder(self.store, episode.name)
        episode.rename(folder)
        (folder / layout.METADATA_NAME).unlink()
        (folder / layout.META_NAME).write_text(meta.to_json())
        bag = layout.bag_file(folder)
        data = bag.read_bytes()
        bag.write_bytes(data[: end_of_data(data)])
        return folder


def offer_numbers(recording: Recording, values: range, *, padding: int = 20) -> None:
    for value in values:
        stamp_ns = START_NS + value * PERIOD_NS
        for topic in range(2):
            data = number_message(value, padding=padding)
            assert recording.offer(topic, data, received_ns=stamp_ns, sent_ns=stamp_ns - 5, sequence=value)


def end_of_data(data: bytes) -> int:
    """Where the data section of a finished file ends."""
    position = 8
    while data[position] != 0x0F:
        position += 9 + struct.unpack_from("<Q", data, position + 1)[0]
    return position


def chunk_ends(data: bytes) -> list[int]:
    """Where each chunk of a file ends."""
    ends, position = [], 8
    while position + 9 <= len(data) and data[position] != 0x0F:
        is_chunk = data[position] == 0x06
        position += 9 + struct.unpack_from("<Q", data, position + 1)[0]
        if is_chunk and position <= len(data):
            ends.append(position)
    return ends


def numbers(path: Path, topic: str = "/a") -> list[int]:
    """The values of one stream of a finished bag, checked against their stamps."""
    return list(_numbers(path, topic))


def _numbers(path: Path, topic: str) -> Iterator[int]:
    bag = Bag(layout.bag_file(path))
    try:
        for raw in bag.messages([topic]):
            message = raw.decoded()
            assert message.stamp.sec * 1_000_000_000 + message.stamp.nanosec == raw.received_ns
            yield message.value
    finally:
        bag.close()
