"""The same work in two processes beside each other, as ``torchrun`` would start them."""

import faulthandler
import multiprocessing
import os
import socket
from collections.abc import Callable

import torch

from mola_core.training.distributed import World, join_world

_STDERR = 2
_PATIENCE_S = 600.0
"""A watchdog: processes that wait for each other for ever would hold up all tests."""


def in_two_processes(work: Callable[[World], object], *, spread: str = "replicate") -> list[int | None]:
    """Exit codes of both."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def enter(rank: int) -> None:
        faulthandler.enable(file=_STDERR)  # where pytest looks: a crash is shown with the test that it fails
        os.environ.update(
            RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
        )
        torch.set_num_threads(1)
        with join_world(device="cpu", spread=spread) as world:
            work(world)

    context = multiprocessing.get_context("fork")
    children = [context.Process(target=enter, args=(rank,)) for rank in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(_PATIENCE_S)
        if child.is_alive():
            child.kill()
    return [child.exitcode for child in children]
