"""The recorder's bench: it counts what is missing, refuses what cannot be, and runs."""

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mola_core.contracts.errors import ConfigError
from mola_nodes.bench import record
from mola_nodes.bench.record_worker import stream_count


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """The bench sets its own, which is put back."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    record.register(parser.add_subparsers())
    return parser.parse_args(["record", *words])


def test_a_missing_number_is_a_lost_message() -> None:
    assert stream_count([7, 8, 9]) == {"written": 3, "lost": 0}
    assert stream_count([7, 9, 12]) == {"written": 3, "lost": 3}
    assert stream_count([]) == {"written": 0, "lost": 0}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seconds", "0"], "--seconds must be positive, got 0"),
        (["--width", "9000"], "--width must be within 16..1280, got 9000"),
        (["--folder", "/nowhere/at/all"], "there is no folder /nowhere/at/all"),
        (["--seconds", "1e9"], r"need [\d.]+ GB, [\d.]+ are free in .*; record a shorter time, smaller pictures"),
    ],
)
def test_what_cannot_be_measured_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        record.run(arguments(*words))


def test_both_writers_record_small_pictures_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = record.run(
        arguments("--seconds", "2", "--width", "64", "--height", "48", "--folder", str(tmp_path), "--json")
    )
    figures = json.loads(capsys.readouterr().out)["figures"]
    assert set(figures) == {"profile", "recorder", "plain"}
    for writer in ("recorder", "plain"):
        streams = figures[writer]["streams"]
        assert len(streams) == 10
        assert all(stream["written"] > 5 for stream in streams.values()), streams
        assert figures[writer]["cpu_percent"] > 0
    lost = sum(stream["lost"] for stream in figures["recorder"]["streams"].values())
    assert status == (1 if lost else 0)
    assert not list(tmp_path.iterdir()), "nothing is left behind"
