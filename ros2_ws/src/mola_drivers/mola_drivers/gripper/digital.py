"""A gripper on one digital output: open or closed, nothing between, and nothing that says where the fingers are."""

from mola_core.contracts.clock import NS_PER_S, Clock
from mola_core.contracts.site import DigitalGripperSpec
from mola_drivers.arm.digital_outputs import DigitalOutputs, RtdeDigitalOutputs
from mola_drivers.gripper.protocol import GripperState, GripperTarget
from mola_drivers.gripper.threaded import ThreadedGripper

_RATE_HZ = 20.0
_HALF_OPEN = 0.5


class DigitalDevice:
    """High closes. The opening reported is that of the output as the controller reports it, not of a sensor."""

    def __init__(self, *, spec: DigitalGripperSpec, outputs: DigitalOutputs, clock: Clock) -> None:
        self._spec = spec
        self._outputs = outputs
        self._clock = clock
        self._connected = False
        self._was_high: bool | None = None
        self._changed_ns = 0

    def connect(self, *, activate: bool) -> None:  # noqa: ARG002 (there is nothing to activate)
        self.close()
        self._outputs.__enter__()
        self._connected = True
        self._was_high = None

    def close(self) -> None:
        if self._connected:
            self._connected = False
            self._outputs.__exit__(None, None, None)

    def command(self, target: GripperTarget) -> None:
        self._outputs.set(output=self._spec.output, high=target.opening < _HALF_OPEN)

    def poll(self) -> GripperState:
        high = self._outputs.is_high(self._spec.output)
        now_ns = self._clock.monotonic_ns()
        if self._was_high is None:
            self._changed_ns = now_ns - round(self._spec.travel_s * NS_PER_S)  # it has been so for long
        elif high != self._was_high:
            self._changed_ns = now_ns
        self._was_high = high
        return GripperState(
            opening=0.0 if high else 1.0,
            moving=now_ns - self._changed_ns < self._spec.travel_s * NS_PER_S,
            blocked=False,
            fault=None,
            stamp_ns=self._clock.now_ns(),
        )


class DigitalGripper(ThreadedGripper):
    """Such a gripper behind :class:`mola_drivers.gripper.protocol.Gripper`; below half open means closed."""

    def __init__(self, *, spec: DigitalGripperSpec, clock: Clock, outputs: DigitalOutputs | None = None) -> None:
        """``outputs``: by default those of the controller at ``spec.host``."""
        if outputs is None:
            outputs = RtdeDigitalOutputs(host=spec.host, clock=clock)
        device = DigitalDevice(spec=spec, outputs=outputs, clock=clock)
        super().__init__(device=device, rate_hz=_RATE_HZ, speed=1.0, force=1.0, clock=clock)
