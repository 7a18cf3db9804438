"""Episodes of small numbered messages, without ROS."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # import mode importlib does not
from numbered import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)
