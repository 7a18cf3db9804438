"""What a client meets on a controller that nobody has used yet."""

from collections.abc import Callable
from typing import Any

import pytest

Play = Callable[[str], Any]


def test_dashboard_answers_as_polyscope_does(play: Play) -> None:
    seen = play("dashboard_talk")
    assert seen["version"].startswith("5.21.")
    assert seen["serial"].isdigit()
    assert seen["mode"] == "Robotmode: RUNNING"
    assert seen["safety"] == "Safetymode: NORMAL"
    assert seen["status"] == "Safetystatus: NORMAL"
    assert seen["program"].startswith("STOPPED")
    assert not seen["running"]
    assert seen["remote"]


def test_upper_range_registers_work_too(play: Play) -> None:
    seen = play("upper_registers")
    assert seen["done"]
    assert seen["moved"] == pytest.approx(0.1, abs=1e-3)
