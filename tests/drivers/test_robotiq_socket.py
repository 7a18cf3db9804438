"""A Robotiq that misbehaves: silent, gone, not activated, talking nonsense."""

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S, SystemClock
from mola_core.contracts.errors import GripperError
from mola_core.contracts.site import RobotiqGripperSpec
from mola_drivers.gripper.protocol import GripperState
from mola_drivers.gripper.robotiq import RobotiqGripper

HOST = "127.0.1.22"


class SmallRobotiq:
    """Registers behind a socket; ``silent`` and ``drop()`` are the faults."""

    def __init__(self) -> None:
        self.registers = {"ACT": 1, "STA": 3, "GTO": 0, "POS": 0, "SPE": 0, "FOR": 0, "OBJ": 3, "FLT": 0}
        self.requests: list[str] = []
        self.overlaps = 0
        self.silent = threading.Event()
        self.nonsense = threading.Event()
        self._listener = socket.create_server((HOST, 0))
        self.port = self._listener.getsockname()[1]
        self._connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def drop(self) -> None:
        for connection in self._connections:
            connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._connections.clear()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        while True:
            try:
                data = connection.recv(256)
            except OSError:
                return
            if not data:
                return
            if data.count(b"\n") != 1:
                self.overlaps += 1
            if not self.silent.is_set():
                connection.sendall(b"what?\n" if self.nonsense.is_set() else self._answer(data.decode()))

    def _answer(self, line: str) -> bytes:
        words = line.split()
        self.requests.append(line.strip())
        if words[0] == "GET":
            return f"{words[1]} {self.registers[words[1]]}\n".encode()
        for name, value in zip(words[1::2], words[2::2], strict=True):
            self.registers[name] = int(value)
        if "ACT" in words:
            self.registers["STA"] = 3 if self.registers["ACT"] else 0
        return b"ack"


@pytest.fixture
def server() -> Iterator[SmallRobotiq]:
    robotiq = SmallRobotiq()
    yield robotiq
    robotiq.close()


def gripper_for(port: int) -> RobotiqGripper:
    spec = RobotiqGripperSpec(kind="robotiq_2f", host=HOST, port=port, speed=0.5, force=0.2, rate_hz=60)
    return RobotiqGripper(spec=spec, clock=SystemClock())


def wait_for(gripper: RobotiqGripper, condition: Callable[[GripperState], bool]) -> GripperState:
    clock = SystemClock()
    deadline_ns = clock.monotonic_ns() + 20 * NS_PER_S
    while not condition(state := gripper.state()):
        assert clock.monotonic_ns() < deadline_ns, state
        clock.sleep_until(clock.monotonic_ns() + 5 * NS_PER_MS)
    return state


def test_target_reaches_the_registers_one_request_at_a_time(server):
    with gripper_for(server.port) as gripper:
        gripper.move(opening=0.25)
        wait_for(gripper, lambda state: state.opening == pytest.approx(0.25, abs=0.01))
    assert "SET POS 191 SPE 128 FOR 51 GTO 1" in server.requests
    assert server.overlaps == 0


def test_an_active_gripper_is_not_activated_again(server):
    with gripper_for(server.port):
        pass
    assert not any("ACT" in request for request in server.requests)


def test_an_inactive_gripper_is_activated(server):
    server.registers |= {"ACT": 0, "STA": 0}
    with gripper_for(server.port):
        assert server.registers["STA"] == 3


def test_blocked_fingers_are_no_fault(server):
    with gripper_for(server.port) as gripper:
        server.registers["OBJ"] = 2
        state = wait_for(gripper, lambda state: state.blocked)
    assert state.fault is None


def test_a_fault_of_its_own_is_named(server):
    with gripper_for(server.port) as gripper:
        server.registers["FLT"] = 10
        state = wait_for(gripper, lambda state: state.fault is not None)
    assert "supply voltage" in str(state.fault)


def test_a_silent_gripper_is_a_fault_with_its_old_stamp_and_comes_back(server):
    with gripper_for(server.port) as gripper:
        before = wait_for(gripper, lambda state: state.stamp_ns > 0)
        server.silent.set()
        lost = wait_for(gripper, lambda state: state.fault is not None)
        assert "does not answer" in str(lost.fault)
        assert lost.opening == before.opening
        server.silent.clear()
        found = wait_for(gripper, lambda state: state.fault is None)
        assert found.stamp_ns > lost.stamp_ns


def test_a_target_given_while_the_gripper_is_lost_is_forgotten(server):
    with gripper_for(server.port) as gripper:
        server.silent.set()
        server.drop()
        wait_for(gripper, lambda state: state.fault is not None)
        gripper.move(opening=0.0)
        server.silent.clear()
        found = wait_for(gripper, lambda state: state.fault is None)
        later = wait_for(gripper, lambda state: state.stamp_ns > found.stamp_ns + 100 * NS_PER_MS)
        assert later.opening == 1.0
        assert not any(request.startswith("SET POS") for request in server.requests)


def test_a_lost_activation_waits_for_the_operator(server):
    with gripper_for(server.port) as gripper:
        server.registers |= {"ACT": 0, "STA": 0}
        state = wait_for(gripper, lambda state: state.fault is not None)
        assert "lost its activation; resume" in str(state.fault)
        wait_for(gripper, lambda state: "GET STA" in server.requests[-3:])
        assert server.registers["STA"] == 0
        gripper.reactivate()
        wait_for(gripper, lambda state: state.fault is None)
        assert server.registers["STA"] == 3


def test_nonsense_is_named(server):
    server.nonsense.set()
    with pytest.raises(GripperError, match=r"answers 'what\?' to GET STA"):
        gripper_for(server.port).__enter__()


def test_refused_connection_is_named():
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(GripperError, match=rf"{HOST}:{port} does not answer"):
        gripper_for(port).__enter__()
