"""Finds the rigs that packages offer for evaluation."""

from importlib.metadata import entry_points
from pathlib import Path

from mola_core.contracts.rig import RIG_GROUP, LockstepRig
from mola_core.evaluation.errors import EvaluationError


def rig_names() -> list[str]:
    """Of all rigs that can be opened."""
    return sorted({entry.name for entry in entry_points(group=RIG_GROUP)})


def open_rig(name: str, *, site: Path) -> LockstepRig:
    """The rig called ``name``.

    Raises:
        EvaluationError: nobody offers it.
        ConfigError: the site file is not one of its.
    """
    found = [entry for entry in entry_points(group=RIG_GROUP) if entry.name == name]
    if not found:
        raise EvaluationError(f"rig {name!r} is not known; installed: {', '.join(rig_names()) or 'none'}")
    rig: LockstepRig = found[0].load()(site)
    return rig
