"""Looking after a store from the command line."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from numbered import Bench, new_meta

from mola_core.cli.contents import Parser, Subcommands
from mola_core.contracts.errors import ConfigError, MolaError
from mola_core.data.episodes import command, layout
from mola_core.data.episodes.meta import EpisodeError
from mola_core.data.episodes.reader import read_meta
from mola_core.data.episodes.store import EpisodeStore

FIRST, SECOND = "20261126-120000-00aa", "20261126-120100-00bb"
Mola = Callable[..., int]


@pytest.fixture
def mola(bench: Bench) -> Mola:
    """Run ``mola episode …`` on the store of the bench."""
    parser = Parser(prog="mola episode")
    subparsers: Any = parser.add_subparsers(action=Subcommands, required=True)
    for register in (command.register_list, command.register_review, command.register_drop, command.register_recover):
        register(subparsers)

    def run(verb: str, *words: str) -> int:
        arguments: argparse.Namespace = parser.parse_args([verb, "--store", str(bench.store), *words])
        status: int = arguments.run(arguments)
        return status

    return run


def record(bench: Bench, episode_id: str, count: int = 30) -> Path:
    return bench.record(count, meta=new_meta(episode_id=episode_id))


def test_list_shows_what_is_there_and_what_is_wrong(
    bench: Bench, mola: Mola, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mola("list") == 0
    assert "has no episodes" in capsys.readouterr().out
    record(bench, FIRST)
    bench.cut_off(5, meta=new_meta(episode_id=SECOND))
    broken = record(bench, "20261126-120200-00cc")
    (broken / layout.META_NAME).write_text('{"version": 7}')
    assert mola("list", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert [item["episode_id"] for item in document["episodes"]] == [FIRST]
    assert document["episodes"][0]["outcome"] == "success"
    assert document["unfinished"] == [f".{SECOND}.partial"]
    assert "version: Input should be 1 (got 7)" in document["damaged"]["20261126-120200-00cc"]
    assert mola("list") == 0
    out = capsys.readouterr().out
    assert FIRST in out
    assert "mola episode recover" in out


def test_review_counts_rates_and_losses(bench: Bench, mola: Mola, capsys: pytest.CaptureFixture[str]) -> None:
    record(bench, FIRST, count=100)
    assert mola("review", "--json") == 0
    (episode,) = json.loads(capsys.readouterr().out)["episodes"]
    stream = episode["streams"][0]
    assert (stream["topic"], stream["count"], stream["lost"]) == ("/a", 100, 0)
    assert stream["rate_hz"] == pytest.approx(100.0)
    assert episode["meta"]["contract_hash"] == new_meta().contract.hash
    assert mola("review", FIRST, "--outcome", "failure") == 0
    out = capsys.readouterr().out
    assert "failure, 'stack the blocks' by ada" in out
    assert "100.0" in out
    assert read_meta(bench.store / FIRST).outcome.value == "failure"


def test_review_of_a_damaged_episode_names_the_cure(bench: Bench, mola: Mola) -> None:
    episode = record(bench, FIRST, count=100)
    bag = layout.bag_file(episode)
    data = bytearray(bag.read_bytes())
    data[len(data) // 2] ^= 0xFF
    bag.write_bytes(data)
    with pytest.raises(EpisodeError, match=r"is damaged .*mola episode recover saves what can be read"):
        mola("review")


def test_a_dropped_episode_can_be_taken_back_until_it_is_purged(
    bench: Bench, mola: Mola, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    record(bench, FIRST)
    record(bench, SECOND)
    assert mola("drop", "last") == 0
    assert [item.meta.episode_id for item in EpisodeStore(bench.store).contents().episodes] == [FIRST]
    assert mola("drop", "--restore", SECOND) == 0
    assert mola("drop", "00bb") == 0
    with pytest.raises(ConfigError, match=r"purging deletes 1 dropped episodes, .* for good; say --yes"):
        mola("drop", "--purge")
    assert mola("drop", "--purge", "--yes") == 0
    assert "MB freed" in capsys.readouterr().out
    with pytest.raises(EpisodeError, match=f"has no episode '{SECOND}'"):
        mola("drop", "--restore", SECOND)


def test_recover_takes_everything_that_is_unfinished(
    bench: Bench, mola: Mola, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mola("recover") == 0
    assert "nothing unfinished" in capsys.readouterr().out
    bench.cut_off(40)
    broken = bench.cut_off(5, meta=new_meta(episode_id=SECOND))
    layout.bag_file(broken).write_bytes(b"nonsense")
    assert mola("recover") == 1
    out = capsys.readouterr().out
    assert f"recovered: {bench.store / FIRST}: 80 messages" in out
    assert "not recovered" in out
    assert broken.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("review", "2031"), "has no episode '2031'"),
        (("review", "20261126"), f"may be {FIRST}, {SECOND}; say more"),
        (("drop",), "say which episodes to drop"),
        (("drop", "--restore", "2031"), "the trash of .* has no episode '2031'"),
    ],
)
def test_bad_input_is_one_sentence(bench: Bench, mola: Mola, words: tuple[str, ...], said: str) -> None:
    record(bench, FIRST)
    record(bench, SECOND)
    with pytest.raises(MolaError, match=said):
        mola(*words)


def test_contract_hash_and_contract_must_agree(bench: Bench) -> None:
    episode = record(bench, FIRST)
    file = episode / layout.META_NAME
    file.write_text(file.read_text().replace(new_meta().contract_hash, "0" * 16))
    with pytest.raises(EpisodeError, match="contract_hash 0000000000000000 is not that of its contract"):
        read_meta(episode)
