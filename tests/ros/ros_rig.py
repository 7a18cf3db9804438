"""What the nodes are tested against: the twin's UR controller, and recordings that the real librealsense plays."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import yaml

from mola_drivers.camera.synthetic import SyntheticDevice, SyntheticFrame, record_synthetic

HOST = "127.0.1.51"
WIDTH, HEIGHT, FPS, NUM_FRAMES = 128, 96, 30, 45
START_MS, PERIOD_MS = 1_750_000_000_000.0, 33.25
PATIENT = {"stale_ms": 1500, "max_observation_age_ms": 3000, "heartbeat_ms": 1000}
_TWIN_SITE = Path(__file__).parents[2] / "launch" / "sites" / "twin.yaml"


@contextmanager
def twin_controller(run_dir: Path) -> Iterator[None]:
    """The twin's UR controller on an address of its own."""
    command = [sys.executable, "-m", "mola_twin.controller.process", "--host", HOST, "--run-dir", str(run_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == "ready", "the twin's controller did not come up"
            yield
        finally:
            process.terminate()
            process.wait(timeout=20)


@contextmanager
def whole_twin(run_dir: Path, *, host: str) -> Iterator[None]:
    """Controller and cell, cameras included."""
    code = (
        "import sys; from pathlib import Path; from mola_twin.serve import ServeOptions, serve;"
        "sys.exit(serve(ServeOptions(host=sys.argv[1], run_dir=Path(sys.argv[2])), announce=lambda line: print(line, flush=True)))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, host, str(run_dir)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert "twin ready" in process.stdout.readline(), "the twin did not come up"
            yield
        finally:
            process.terminate()
            process.wait(timeout=30)


def write_twin_site(path: Path, *, host: str) -> Path:
    """The twin's site at another address, patient: what is tested is what happens, on however crowded a machine."""
    content = yaml.safe_load(_TWIN_SITE.read_text())
    for section in (content["arm"], content["gripper"], *content["cameras"].values()):
        section["host"] = host
    for camera in content["cameras"].values():
        camera["frame_timeout_ms"] = 3000
    content["safety"] = PATIENT
    path.write_text(yaml.safe_dump(content))
    return path


def write_recording(path: Path) -> Path:
    """45 frames whose blue value is their number, before a flat wall that recedes by 1 mm a frame."""

    def frames() -> Iterator[SyntheticFrame]:
        columns, rows = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
        for number in range(NUM_FRAMES):
            color = np.stack([columns, rows, np.full_like(rows, number)], axis=-1).astype(np.uint8)
            depth = np.full((HEIGHT, WIDTH), 700 + number, dtype=np.uint16)
            stamp_ms = START_MS + number * PERIOD_MS
            yield SyntheticFrame(color=color, depth=depth, color_ms=stamp_ms, depth_ms=stamp_ms + 1.0)

    device = SyntheticDevice(model="D455", serial="244622072067", width=WIDTH, height=HEIGHT, fps=FPS, global_time=True)
    record_synthetic(path, device=device, frames=frames())
    return path


def write_site(path: Path, *, recording: Path) -> Path:
    """The twin's site at our address, with cameras that play ``recording``."""
    content = yaml.safe_load(_TWIN_SITE.read_text())
    content["arm"]["host"] = content["gripper"]["host"] = HOST
    content["safety"] = {**PATIENT, "stale_ms": 300}
    played = {
        "source": "recorded",
        "path": str(recording),
        "model": "D455",
        "width": WIDTH,
        "height": HEIGHT,
        "fps": FPS,
        "frame_timeout_ms": 3000,
    }
    for camera in content["cameras"].values():  # the mounts stay: the wrist camera is part of the collision model
        del camera["host"]
        camera.update(played)
    path.write_text(yaml.safe_dump(content))
    return path
