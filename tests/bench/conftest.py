"""Figures that the tests of the benches share."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # import mode importlib does not
