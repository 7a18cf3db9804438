"""What the teleoperation node needs of a device held in somebody's hand."""

from types import TracebackType
from typing import Protocol, Self

from mola_core.contracts.teleop import TeleopCommand


class TeleopDevice(Protocol):
    """A source of commands. Belongs to one thread."""

    @property
    def name(self) -> str:
        """Kind of device, as the source of its chunks names it."""
        ...

    def __enter__(self) -> Self:
        """Open the device.

        Raises:
            TeleopError: absent or not permitted; names the device and the cure.
        """
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def read(self, now_ns: int) -> TeleopCommand:
        """The newest command at ``now_ns`` (epoch); never blocks. A lost device reads as not alive and not enabled.

        Raises:
            TeleopError: the device has not been opened.
        """
        ...
