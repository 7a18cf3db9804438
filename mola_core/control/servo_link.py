"""The shared memory between the controller node and the servo process: two small classes, one for either end.

The controller's end owns the chunk mailbox and the operator's record, the servo's end owns the status; a restart of either
replaces only its own blocks, and the other end attaches again. Nothing here blocks.
"""

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from mola_core.contracts.clock import Clock
from mola_core.contracts.errors import MolaError
from mola_core.contracts.shared_block import BlockReplacedError, SharedBlock
from mola_core.control.joint_chunk import JointChunk
from mola_core.control.link_records import (
    CHUNK_DTYPE,
    OPERATOR_DTYPE,
    STATUS_DTYPE,
    ServoStatus,
    chunk_of,
    fill_chunk,
    status_of,
    text_of,
)

MAILBOX_SLOTS = 8


@dataclass(frozen=True, slots=True)
class OperatorRecord:
    """What the controller node last said. Counters, because a record may be read twice or be skipped."""

    resumes: int
    stops: int
    stop_reason: str
    controller_beat_ns: int
    """``Clock.monotonic_ns`` of the controller's last sign of life; the clock is common to all processes."""
    manager_beat_ns: int
    """The same of the lifecycle manager; 0 where there is none to wait for."""
    hand_beat_ns: int
    """When a person last wanted to guide the arm by hand, on the same clock; 0 before any."""


class ControllerEnd:
    """Writes chunks and the operator's wishes, reads the status. Made before the servo process is started."""

    def __init__(self, directory: Path, *, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock
        directory.mkdir(parents=True, exist_ok=True)
        self._slots = [SharedBlock(path, CHUNK_DTYPE, create=True) for path in _slot_paths(directory)]
        self._operator = SharedBlock(directory / "operator", OPERATOR_DTYPE, create=True)
        self._status: SharedBlock | None = None
        self._chunk = np.zeros((), dtype=CHUNK_DTYPE)
        self._wishes = np.zeros((), dtype=OPERATOR_DTYPE)
        self.beat()

    def send(self, chunk: JointChunk) -> None:
        """Put ``chunk`` into the mailbox; the oldest of eight unread ones is lost, which the servo reports."""
        self._chunk["number"] += 1
        fill_chunk(self._chunk, chunk)
        self._slots[int(self._chunk["number"]) % MAILBOX_SLOTS].write(self._chunk)

    def resume(self) -> None:
        """Tell the servo that the operator wants motion."""
        self._wishes["resumes"] += 1
        self._operator.write(self._wishes)

    def stop(self, reason: str) -> None:
        """Tell the servo to brake and stay stopped."""
        self._wishes["stops"] += 1
        self._wishes["stop_reason"] = reason.encode()[:96]
        self._operator.write(self._wishes)

    def guide_by_hand(self) -> None:
        """Tell the servo that a person wants to guide the arm by hand; to be said again and again."""
        self._wishes["hand_beat_ns"] = self._clock.monotonic_ns()
        self._operator.write(self._wishes)

    def beat(self, *, manager_beat_ns: int | None = None) -> None:
        """Say that the controller lives; ``manager_beat_ns`` is when the lifecycle manager was last heard."""
        self._wishes["controller_beat_ns"] = self._clock.monotonic_ns()
        if manager_beat_ns is not None:
            self._wishes["manager_beat_ns"] = manager_beat_ns
        self._operator.write(self._wishes)

    def status(self) -> ServoStatus | None:
        """What the servo process published last; None while there is no servo process or it has said nothing."""
        for _ in range(2):  # once more after a restart of the servo process
            try:
                if self._status is not None and self._status.is_replaced:
                    self._drop_status()  # a process that left before it said anything
                if self._status is None:
                    self._status = SharedBlock(self._directory / "status", STATUS_DTYPE, create=False)
                return status_of(self._status.read()) if self._status.version else None
            except MolaError:
                self._drop_status()
        return None

    def close(self) -> None:
        """Remove what this end owns."""
        self._drop_status()
        for block in (*self._slots, self._operator):
            block.close()

    def _drop_status(self) -> None:
        if self._status is not None:
            self._status.close()
            self._status = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ServoEnd:
    """Reads chunks and the operator's wishes, writes the status; called from the 500 Hz loop."""

    def __init__(self, directory: Path) -> None:
        """Attach to what the controller's end has made.

        Raises:
            MolaError: there is no controller, or it is of another version.
        """
        self._slots = [SharedBlock(path, CHUNK_DTYPE, create=False) for path in _slot_paths(directory)]
        self._operator_block = SharedBlock(directory / "operator", OPERATOR_DTYPE, create=False)
        self._status_block = SharedBlock(directory / "status", STATUS_DTYPE, create=True)
        # Chunks from before this process began are none of its business.
        self._next_number = 1 + max(int(slot.read()["number"]) for slot in self._slots)
        self._operator = _operator_of(self._operator_block.read())
        self.missed_chunks = 0
        """Chunks that were overwritten in the mailbox before the loop came to read them."""

    @property
    def is_orphaned(self) -> bool:
        """The controller has left or was replaced by another one, which will start its own servo process."""
        return self._operator_block.is_replaced

    def take_chunks(self) -> list[JointChunk]:
        """Chunks that arrived since the last call, oldest first. Allocates nothing while there are none."""
        slot = self._slots[self._next_number % MAILBOX_SLOTS]
        if slot.version < -(-self._next_number // MAILBOX_SLOTS):
            return []
        return self._take_new()

    def operator(self) -> OperatorRecord:
        """The operator's record; the one before, if it is being written at this instant."""
        try:
            record = self._operator_block.try_read()
        except BlockReplacedError:
            return self._operator  # its heartbeat ages from here on
        if record is not None:
            self._operator = _operator_of(record)
        return self._operator

    def publish(self, record: np.ndarray) -> None:
        """Write a status record of ``STATUS_DTYPE``."""
        self._status_block.write(record)

    def withdraw(self) -> None:
        """Take the status away: from here on this process says nothing more."""
        self._status_block.close()

    def close(self) -> None:
        """Detach, and remove the status."""
        for block in (*self._slots, self._operator_block, self._status_block):
            block.close()

    def _take_new(self) -> list[JointChunk]:
        taken: list[JointChunk] = []
        for _ in range(MAILBOX_SLOTS):
            try:
                record = self._slots[self._next_number % MAILBOX_SLOTS].try_read()
            except BlockReplacedError:
                break
            if record is None or int(record["number"]) < self._next_number:
                break
            self.missed_chunks += int(record["number"]) - self._next_number
            self._next_number = int(record["number"]) + 1
            chunk = chunk_of(record)
            if chunk is not None:
                taken.append(chunk)
        return taken

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _slot_paths(directory: Path) -> list[Path]:
    return [directory / f"chunk_{slot}" for slot in range(MAILBOX_SLOTS)]


def _operator_of(record: np.ndarray) -> OperatorRecord:
    return OperatorRecord(
        resumes=int(record["resumes"]),
        stops=int(record["stops"]),
        stop_reason=text_of(record["stop_reason"]),
        controller_beat_ns=int(record["controller_beat_ns"]),
        manager_beat_ns=int(record["manager_beat_ns"]),
        hand_beat_ns=int(record["hand_beat_ns"]),
    )
