"""Reports carry strict JSON, the machine and the state of git."""

import json
from dataclasses import dataclass
from enum import Enum, IntEnum
from pathlib import Path

import numpy as np
import pytest

from mola_core.cli import report
from mola_core.contracts.clock import NS_PER_S, FakeClock
from mola_core.contracts.errors import MolaError


class Colour(Enum):
    DEEP_RED = "r"


class Mode(IntEnum):
    RUNNING = 7


@dataclass(frozen=True)
class Row:
    task: str
    lateness_ms: np.ndarray


def test_a_report_says_where_from_what_and_when():
    document = report.measurement_report("servo", {"p99_ms": 0.2}, clock=FakeClock(start_ns=1_700_000_000 * NS_PER_S))
    assert document["date"] == "2023-11-14T22:13:20+00:00"
    assert document["figures"] == {"p99_ms": 0.2}
    assert document["machine"]["cores"] >= 1
    assert document["machine"]["python"].startswith("3.")
    assert set(document["git"]) == {"commit", "dirty"}


def test_outside_a_work_tree_the_git_state_is_unknown_rather_than_invented(monkeypatch, tmp_path):
    monkeypatch.setattr(report, "_REPOSITORY", tmp_path)
    assert report.git_state() == {"commit": None, "dirty": None}


def test_what_benches_hold_becomes_strict_json(capsys):
    figures = {
        "row": Row(task="stack", lateness_ms=np.array([1.5, np.nan])),
        "count": np.int64(3),
        "colour": Colour.DEEP_RED,
        "mode": Mode.RUNNING,
        "path": Path("runs"),
        "never": float("inf"),
        "pair": (True, None),
    }
    report.print_json(figures)
    assert json.loads(capsys.readouterr().out) == {
        "row": {"task": "stack", "lateness_ms": [1.5, None]},
        "count": 3,
        "colour": "deep_red",
        "mode": "running",
        "path": "runs",
        "never": None,
        "pair": [True, None],
    }


def test_a_value_without_meaning_in_json_is_refused():
    with pytest.raises(TypeError, match="object"):
        report.to_jsonable(object())


def test_a_summary_has_percentiles_and_the_worst_case():
    summary = report.summary(np.arange(1, 102))
    assert summary == {"count": 101, "mean": 51.0, "p50": 51.0, "p90": 91.0, "p99": 100.0, "max": 101.0}


def test_nothing_measured_is_an_error_and_not_a_zero():
    with pytest.raises(MolaError, match="nothing was measured"):
        report.summary([])
