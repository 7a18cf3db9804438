"""The bench of the loader: what it measures, and what a missing lerobot gets."""

import json
import stat
from pathlib import Path

import pytest

from mola_core.cli.dispatch import main
from tests.core.grey_pictures import write_grey


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_grey(tmp_path_factory.mktemp("bench") / "demo")


def words(dataset: Path) -> list[str]:
    return [
        "bench",
        "loader",
        "--dataset",
        str(dataset),
        "--batch",
        "8",
        "--seconds",
        "0.1",
        "--repeats",
        "1",
        "--json",
    ]


def test_ours_alone(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(dataset)) == 0
    figures = json.loads(capsys.readouterr().out)["figures"]
    assert figures["ours_cached"]["clips_per_s"] > figures["ours_decoding"]["clips_per_s"] > 0
    assert "ratio_cached" not in figures


def test_reference_is_asked_for_the_same_window(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = tmp_path / "python"
    fake.write_text('#!/bin/sh\nshift; echo "$@" > "$0.seen"; echo \'{"samples_per_s": 2.0}\'\n', encoding="utf-8")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    assert main([*words(dataset), "--workers", "1", "--lerobot-python", str(fake)]) == 0
    figures = json.loads(capsys.readouterr().out)["figures"]
    assert figures["ratio_cached"] == pytest.approx(figures["ours_cached"]["clips_per_s"] / 2.0)
    seen = Path(f"{fake}.seen").read_text(encoding="utf-8")
    assert "--cameras wrist --offsets 0 2 4 6 9 12 --batch 8 --workers 1" in seen


def test_failing_reference_is_one_line(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho 'No module named lerobot' >&2; exit 1\n", encoding="utf-8")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    assert main([*words(dataset), "--lerobot-python", str(fake)]) == 1
    assert "No module named lerobot" in capsys.readouterr().err


def test_absent_reference_is_named(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words(dataset), "--lerobot-python", "/does/not/exist"]) == 2
    assert "/does/not/exist" in capsys.readouterr().err
