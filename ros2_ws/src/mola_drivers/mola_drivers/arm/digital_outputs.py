"""The controller's standard digital outputs, on an RTDE connection of their own."""

from types import TracebackType
from typing import Protocol, Self

from mola_core.contracts.clock import NS_PER_S, Clock
from mola_core.contracts.errors import ArmError
from mola_drivers.arm.ports import probe_rtde
from mola_drivers.arm.rtde import IoLink, ReceiveLink, open_io, open_receive
from mola_drivers.bounded import run_bounded

NUM_OUTPUTS = 8
_SILENCE_NS = NS_PER_S
_READ_HZ = 20.0
_DISCONNECT_S = 2.0


class DigitalOutputs(Protocol):
    """Eight outputs; ``with outputs:`` connects. Belongs to one thread."""

    def __enter__(self) -> Self:
        """Raises ArmError if the controller cannot be reached or another client owns the outputs."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def set(self, *, output: int, high: bool) -> None:
        """Raises ValueError for an output outside 0..7, ArmError if the controller does not take it."""
        ...

    def is_high(self, output: int) -> bool:
        """As the controller reports it. Raises ArmError if it has been silent for a second."""
        ...


class RtdeDigitalOutputs:
    """Outputs of a UR controller; sets on one connection, reads back on another."""

    def __init__(self, *, host: str, clock: Clock) -> None:
        self._host = host
        self._clock = clock
        self._io: IoLink | None = None
        self._receive: ReceiveLink | None = None
        self._progress_time_s = -1.0
        self._progress_ns = 0

    def __enter__(self) -> Self:
        probe_rtde(host=self._host)
        self._io = open_io(host=self._host)
        variables = ["timestamp", "actual_digital_output_bits"]
        self._receive = open_receive(host=self._host, frequency_hz=_READ_HZ, variables=variables)
        self._note_progress(self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        links = (self._io, self._receive)
        self._io = self._receive = None
        for link in links:
            if link is not None:
                try:
                    run_bounded(link.disconnect, timeout_s=_DISCONNECT_S)
                except (TimeoutError, RuntimeError):
                    return  # the link is dead and goes with the process

    def set(self, *, output: int, high: bool) -> None:
        _check(output)
        self._alive()
        io = self._io
        if io is None or not io.isConnected() or not io.setStandardDigitalOut(output, high):
            raise ArmError(f"the controller at {self._host} does not set digital output {output}; check the network")

    def is_high(self, output: int) -> bool:
        _check(output)
        return bool(self._alive().getActualDigitalOutputBits() >> output & 1)

    def _alive(self) -> ReceiveLink:
        receive = self._receive
        if receive is None:
            raise ArmError(f"the digital outputs of {self._host} are not connected")
        self._note_progress(receive)
        if self._clock.monotonic_ns() - self._progress_ns > _SILENCE_NS:
            raise ArmError(f"the controller at {self._host} has gone silent; check the network")
        return receive

    def _note_progress(self, receive: ReceiveLink) -> None:
        time_s = receive.getTimestamp()
        if time_s != self._progress_time_s:
            self._progress_time_s = time_s
            self._progress_ns = self._clock.monotonic_ns()


def _check(output: int) -> None:
    if not 0 <= output < NUM_OUTPUTS:
        raise ValueError(f"digital output must be 0..{NUM_OUTPUTS - 1}, got {output}")
