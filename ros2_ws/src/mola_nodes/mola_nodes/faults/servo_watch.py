"""When the servo process itself began to brake, by its own status record, whoever else is alive."""

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from mola_core.contracts.clock import NS_PER_MS, Clock
from mola_core.contracts.errors import MolaError
from mola_core.contracts.shared_block import SharedBlock
from mola_core.control.link_records import STATUS_DTYPE, ServoStatus, status_of
from mola_core.control.servo_types import ServoState
from mola_nodes.link_folder import link_folder_of

_POLL_NS = 2 * NS_PER_MS


class ServoWatch:
    """Reads the status that a servo process leaves in shared memory; the record stays readable after its death.

    Entering attaches to the record of the controller node with ``controller_pid``.
    """

    def __init__(self, *, controller_pid: int, clock: Clock) -> None:
        self._folder: Path = link_folder_of(controller_pid)
        self._clock = clock
        self._braking: ServoStatus | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="servo watch", daemon=True)

    def __enter__(self) -> Self:
        self._block = SharedBlock(self._folder / "status", STATUS_DTYPE, create=False)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self._block.close()

    @property
    def pid(self) -> int:
        """Of the servo process."""
        return self._status().pid

    @property
    def braking(self) -> ServoStatus | None:
        """The first status since entering in which it was no longer executing; None as long as it is."""
        return self._braking

    def _status(self) -> ServoStatus:
        return status_of(self._block.read())

    def _run(self) -> None:
        deadline_ns = self._clock.monotonic_ns()
        while self._braking is None and not self._done.is_set():
            try:
                status = self._status()
            except MolaError:  # replaced or torn: its process is gone
                return
            if status.state is not ServoState.EXECUTING:
                self._braking = status
            deadline_ns += _POLL_NS
            self._clock.sleep_until(deadline_ns)
