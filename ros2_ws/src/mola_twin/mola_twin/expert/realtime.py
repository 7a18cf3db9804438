"""Trials of the expert in real time, shared out among running twins."""

import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from mola_twin.expert.trials import Trial
from mola_twin.expert.twin_rig import TwinRig


def run_on_twins(
    *,
    site_path: Path,
    hosts: Sequence[str],
    episodes: Sequence[tuple[str, int]],
    variant: str,
    progress: Callable[[Trial], None],
) -> list[Trial]:
    """Run all (task, seed) ``episodes``, shared out among the twins on ``hosts``.

    Raises:
        DeviceError: a twin does not answer, or its arm stopped and does not resume.
    """
    waiting: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()
    for episode in episodes:
        waiting.put(episode)
    trials: list[Trial] = []
    failures: list[Exception] = []

    def work(host: str) -> None:
        try:
            with TwinRig(site_path, host=host) as rig:
                while not failures:
                    task, seed = waiting.get_nowait()
                    trial = rig.run_trial(task=task, seed=seed, variant=variant)
                    trials.append(trial)
                    progress(trial)
        except queue.Empty:
            return
        except Exception as error:  # noqa: BLE001  # raised again by the caller's thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(host,), name=f"twin {host}") for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return trials
