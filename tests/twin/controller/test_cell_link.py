"""The controller outlives its cell, whenever that ends."""

from pathlib import Path

import numpy as np
import pytest

from mola_core.contracts.shared_block import SharedBlock
from mola_twin.controller.cell_link import CellLink
from mola_twin.link import CELL_BLOCK, CELL_DTYPE

NOW_NS = 5_000_000_000


def cell_says(block: SharedBlock, *, opening: float) -> None:
    record = np.zeros((), CELL_DTYPE)
    record["stamp_ns"], record["gripper_opening"] = NOW_NS, opening
    block.write(record)


def opening_seen(link: CellLink) -> float | None:
    seen = link.read_cell(now_ns=NOW_NS)
    return None if seen is None else seen.gripper_opening


def test_a_cell_that_ends_is_absent_until_another_comes(tmp_path: Path) -> None:
    link = CellLink(tmp_path)
    assert opening_seen(link) is None
    for opening in (0.25, 0.75):
        with SharedBlock(tmp_path / CELL_BLOCK, CELL_DTYPE, create=True) as cell:
            cell_says(cell, opening=opening)
            seen = [opening_seen(link) for _ in range(300)]
            assert seen[-1] == pytest.approx(opening)
        assert opening_seen(link) is None
    link.close()


def test_a_cell_may_end_between_a_look_and_a_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = CellLink(tmp_path)
    with SharedBlock(tmp_path / CELL_BLOCK, CELL_DTYPE, create=True) as cell:
        cell_says(cell, opening=0.5)
        assert opening_seen(link) == pytest.approx(0.5)
        looks = iter([False])
        monkeypatch.setattr(SharedBlock, "is_replaced", property(lambda _block: next(looks, True)))
        for _ in range(3):
            opening_seen(link)  # the first look is before the end, all others are after it
        assert opening_seen(link) is None
        monkeypatch.undo()
    link.close()
