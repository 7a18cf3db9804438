"""The transport bench runs and its figures add up; how large they are is not a test's business."""

import argparse
import json

import pytest

from mola_nodes.bench import transport


def test_both_set_ups_are_measured_in_one_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert transport.run(argparse.Namespace(seconds=0.5, profile=None, json=True)) == 0
    figures = json.loads(capsys.readouterr().out)["figures"]
    for set_up in ("stock", "shipped"):
        measured = figures[set_up]
        assert measured["sent"] == 15 * transport.NUM_STREAMS * transport.NUM_SUBSCRIBERS
        assert 0 < measured["received"] <= measured["sent"]
        assert 0 < measured["hop_p50_ms"] <= measured["hop_p99_ms"] <= measured["hop_max_ms"]
        assert measured["publisher_cpu_percent"] > 0


def test_absent_profile_is_refused_before_anything_starts() -> None:
    options = argparse.Namespace(seconds=0.5, profile=transport.Path("/absent/fastdds.xml"), json=True)
    with pytest.raises(transport.ConfigError, match=r"/absent/fastdds\.xml"):
        transport.run(options)
