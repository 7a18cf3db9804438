"""The twin as a rig for evaluation: starts repeat, cameras show the live stream, campaigns run in processes and go on."""

import json
from pathlib import Path

import numpy as np
import pytest

from mola_core.cli import main
from mola_core.contracts.rig import LockstepRig
from mola_core.contracts.site import load_site
from mola_core.evaluation.rigs import open_rig
from mola_core.evaluation.rollout import Episode, RolloutSettings, roll_out
from mola_core.evaluation.sources import HoldingSource, ScriptedSource

SITE = Path(__file__).parents[2] / "launch/sites/twin.yaml"


@pytest.fixture(scope="module")
def rig() -> LockstepRig:
    return open_rig("twin", site=SITE)


def test_the_expert_succeeds_also_when_its_chunks_come_late(rig: LockstepRig) -> None:
    for delay_ms in (0, 60):
        settings = RolloutSettings(delay_ns=delay_ms * 1_000_000)
        rollout = roll_out(rig, ScriptedSource(), Episode("press_button", 11), settings=settings)
        assert rollout.success, rollout.outcome
        assert 1.0 < rollout.duration_s < 6.0


def test_doing_nothing_achieves_nothing(rig: LockstepRig) -> None:
    settings = RolloutSettings(time_limit_s=0.5)
    rollout = roll_out(rig, HoldingSource(), Episode("open_drawer", 1), settings=settings)
    assert (rollout.success, rollout.outcome) == (False, "time limit of 0.5 s: not open")


def test_starts_repeat_and_cameras_show_what_the_live_stream_would(rig: LockstepRig) -> None:
    cameras = load_site(SITE).cameras
    views = []
    for _ in range(2):
        start = rig.reset(task="grab_bowl", seed=4, variant="phrasing")
        views.append(rig.observe())
    assert start.instruction in {
        "hold the bowl above the table", "raise the bowl into the air", "get hold of the bowl and bring it up"
    }  # fmt: skip
    for name, spec in cameras.items():
        assert views[0].frames[name].shape == (spec.height, spec.width, 3)
        np.testing.assert_array_equal(views[0].frames[name], views[1].frames[name])


def test_a_campaign_goes_on_and_leaves_films(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, films = tmp_path / "results.jsonl", tmp_path / "films"
    words = ["eval", "twin", "--policy", "expert", "--task", "press_button", "--site", str(SITE), "--out", str(out)]
    assert main([*words, "--seeds", "3:4", "--workers", "1", "--json", "--films", str(films)]) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["figures"]["cells"][0]["tasks"][0]["successes"] == 1
    assert (films / "press_button-id-3.mp4").stat().st_size > 10_000
    assert main([*words, "--seeds", "3:5", "--workers", "1", "--json"]) == 0
    second = json.loads(capsys.readouterr().out)
    assert second["figures"]["cells"][0]["tasks"][0]["trials"] == 2
    lines = out.read_text().splitlines()
    assert len(lines) == 3, "the first seed did not run again"
