"""Bad files of foreign datasets stop a training before it begins, or are left out and named: as the error says, by ``--skip-bad``."""

import json
import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from mola_core.cli import main
from mola_core.data.labels.info import MapsInfo
from mola_core.teachers import protocol
from mola_core.teachers.protocol import EpisodeToLabel

ROWS = 40
SHORT = [
    *("video.steps=1", "video.batch_size=2", "video.validation_batches=1", "video.cache_latents=false"),
    "validation_share=0.3",
]


@pytest.fixture
def libero(tmp_path: Path) -> Path:
    """Two files of three demos each; one is cut short."""
    for name in ("good", "bad"):
        (tmp_path / "libero").mkdir(exist_ok=True)
        with h5py.File(tmp_path / "libero" / f"{name}.hdf5", "w") as file:
            data = file.create_group("data")
            data.attrs["problem_info"] = json.dumps({"language_instruction": "open the drawer"})
            for demo in (data.create_group(f"demo_{number}") for number in range(3)):
                demo["actions"] = np.zeros((ROWS, 7))
                for array, width in (("ee_states", 6), ("gripper_states", 2)):
                    demo[f"obs/{array}"] = np.zeros((ROWS, width))
                for array in ("agentview_rgb", "eye_in_hand_rgb"):
                    demo[f"obs/{array}"] = np.zeros((ROWS, 24, 24, 3), np.uint8)
    bad = tmp_path / "libero" / "bad.hdf5"
    os.truncate(bad, bad.stat().st_size // 2)
    return tmp_path / "libero"


def words(libero: Path) -> list[str]:
    settings = [word for setting in SHORT for word in ("--set", setting)]
    out = str(libero.parent / "run")
    return ["train", "stage1", "--recipe", "twin-tiny", "--data", f"twin={libero}", "--out", out, *settings]


def test_a_bad_file_stops_the_training_and_the_error_names_the_flag(
    libero: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(libero)) == 4
    error = capsys.readouterr().err
    assert f"{libero}/bad.hdf5: no readable HDF5" in error
    assert "--skip-bad leaves out what is bad or missing" in error
    assert not (libero.parent / "run").exists()


def test_bad_files_are_left_out_on_purpose_and_named(libero: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words(libero), "--skip-bad"]) == 0
    said = capsys.readouterr()
    lines = (said.out + said.err).splitlines()
    at = lines.index("bad files left out of dataset twin: 1")
    assert lines[at + 1].startswith(f"  {libero}/bad.hdf5: no readable HDF5")
    assert (libero.parent / "run" / "video" / "final" / "checkpoint.json").is_file()


class Flat:
    """Labels every row with one depth."""

    name = "flat"

    def info(self) -> MapsInfo:
        sizes = dict.fromkeys(("third_person", "wrist"), (4, 4))
        return MapsInfo(teacher="flat", model="none", labels=("depth",), sizes=sizes)

    def label(self, episode: EpisodeToLabel) -> dict[str, np.ndarray]:
        labels: dict[str, np.ndarray] = {}
        for camera in ("third_person", "wrist"):
            labels[f"depth/{camera}"] = np.ones((episode.num_rows, 4, 4), np.uint16)
            labels[f"depth_scale/{camera}"] = np.ones(episode.num_rows, np.float32)
        return labels


def test_labels_are_made_of_the_same_episodes(
    libero: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "open_teacher", lambda _name, _settings: Flat())
    label = ["data", "label", str(libero), "--teacher", "flat", "--view", "8x8"]
    assert main(label) == 4
    assert "--skip-bad" in capsys.readouterr().err
    assert main([*label, "--skip-bad"]) == 0
    assert "3 episodes labelled by flat" in capsys.readouterr().out
