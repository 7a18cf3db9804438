"""Where a demo records: its own folder is cleared by the next one, anybody else's is not."""

from pathlib import Path

from mola_nodes.demo.store import fresh_store


def test_what_the_demo_before_recorded_is_cleared(tmp_path: Path) -> None:
    recorded = fresh_store(tmp_path / "demo" / "episodes") / "episode-000001"
    recorded.mkdir()
    fresh_store(tmp_path / "demo" / "episodes")
    assert not recorded.exists()


def test_what_somebody_else_recorded_there_stays(tmp_path: Path) -> None:
    theirs = tmp_path / "episodes" / "episode-000001"
    theirs.mkdir(parents=True)
    for _ in range(2):
        assert fresh_store(tmp_path / "episodes") == tmp_path / "episodes"
    assert theirs.exists()
