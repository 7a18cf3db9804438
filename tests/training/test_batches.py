"""Batches that threads read ahead: in order, with what was wrong as it was said, and no longer than anybody wants them."""

import threading
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest
import torch
from training_fakes import LineSource

from mola_core.data.errors import BadSourceFileError
from mola_core.training.batches import parts_of_steps
from mola_core.training.bench.loader import stage_1_source
from mola_core.training.order import Parts, SampleOrder
from mola_core.training.stage import Batch, whole_of
from tests.core.grey_pictures import write_grey

SIZE = 40
TWO_PARTS = Parts(batch_size=8, world_size=1, accumulate=2)


def steps_of(source: LineSource, *, first: int = 0, steps: int = 12, workers: int = 0):
    order = SampleOrder((whole_of(source),), batch_size=8, seed=3)
    return parts_of_steps(source, order=order, parts=TWO_PARTS, rank=0, first_step=first, steps=steps, workers=workers)


def numbers(steps) -> list[list[list[int]]]:
    return [[batch["index"].tolist() for batch in parts] for parts in steps]


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_keep_the_order(workers: int) -> None:
    alone = numbers(steps_of(LineSource(SIZE)))
    assert len(alone) == 12
    assert all(len(parts) == 2 and len(parts[0]) == 4 for parts in alone)
    assert numbers(steps_of(LineSource(SIZE), workers=workers)) == alone
    assert numbers(steps_of(LineSource(SIZE), first=7, workers=workers)) == alone[7:]


class Damaged(LineSource):
    """Its last sample lies in a bad file."""

    def batch(self, indices) -> Batch:
        if SIZE - 1 in np.asarray(indices):
            raise BadSourceFileError(Path("clips/7.webm"), "no decodable video")
        return super().batch(indices)


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_data_are_named_when_their_step_comes(workers: int) -> None:
    every = numbers(steps_of(LineSource(SIZE)))
    good = next(step for step, parts in enumerate(every) if any(SIZE - 1 in part for part in parts))
    stream = steps_of(Damaged(SIZE), workers=workers)
    assert numbers(islice(stream, good)) == every[:good]
    with pytest.raises(BadSourceFileError, match=r"clips/7\.webm: no decodable video; .*--skip-bad"):
        next(stream)


class Counting(LineSource):
    """Notes in which threads how many batches were made."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.threads: set[threading.Thread] = set()
        self.made = count()

    def batch(self, indices) -> Batch:
        self.threads.add(threading.current_thread())
        next(self.made)
        return super().batch(indices)


def test_closing_stops_the_threads() -> None:
    source = Counting(SIZE)
    stream = steps_of(source, steps=10**9, workers=2)
    next(stream)
    stream.close()
    assert source.threads
    assert not any(thread.is_alive() for thread in source.threads)
    assert next(source.made) < 10, "two batches of each thread are in the making, those of the first step besides"


def test_threads_may_decode_what_others_decoded_before(tmp_path: Path) -> None:
    """Forked processes stood still for ever where the one that forked them had decoded in threads."""
    path = write_grey(tmp_path / "demo")
    sizes = {"wrist": (32, 32)}
    stage_1_source(path, sizes, cache_folder=tmp_path)  # decodes all of it in threads
    source = stage_1_source(path, sizes, cache_folder=None)
    order = SampleOrder((whole_of(source),), batch_size=4, seed=0)
    parts = Parts(batch_size=4, world_size=1, accumulate=1)
    steps = list(parts_of_steps(source, order=order, parts=parts, rank=0, first_step=0, steps=3, workers=2))
    for step, (batch,) in enumerate(steps):
        assert torch.equal(batch["frames"], source.batch(order.batch(step))["frames"])
