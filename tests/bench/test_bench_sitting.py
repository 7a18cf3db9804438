"""What ``mola bench sitting`` says of losses that nobody lived to count."""

from pathlib import Path

import pytest

from mola_nodes.bench.sitting import SittingEpisode, print_sitting


def episode(*, outcome: str, lost: int | None) -> SittingEpisode:
    return SittingEpisode(
        task="grab_bowl",
        seed=0,
        episode_id="episode-000001",
        outcome=outcome,
        length_s=12.0,
        messages=4000,
        lost=lost,
        recorder_mib=120.0,
    )


def row_of(text: str) -> str:
    return next(" ".join(line.replace("│", " ").split()) for line in text.splitlines() if "grab_bowl" in line)


def test_a_killed_recorder_has_not_lost_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    kept = [episode(outcome="success", lost=2), episode(outcome="success", lost=0)]
    print_sitting(kept, store=Path("store"))
    told = capsys.readouterr().out
    assert row_of(told) == "grab_bowl 2 2 0 24 8000 2"
    assert "killed" not in told
    print_sitting([*kept, episode(outcome="recovered", lost=None)], store=Path("store"))
    told = capsys.readouterr().out
    assert row_of(told) == "grab_bowl 3 2 1 36 12000 2 + ?"
    assert "lost ?: of an episode whose recorder was killed" in told
