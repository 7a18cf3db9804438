"""What the real, unmodified ur_rtde client does to the twin: ``python scenarios.py NAME HOST`` prints one JSON document.

Each runs in a process of its own, because a constructor that waits holds the GIL, and some scenarios end with the client
crashing.
"""

import json
import math
import os
import sys
import time
from typing import Any

from dashboard_client import DashboardClient
from rtde_control import RTDEControlInterface
from rtde_io import RTDEIOInterface
from rtde_receive import RTDEReceiveInterface

HOST = sys.argv[2]
RATE_HZ = 500.0
SERVO = (0.0, 0.0, 0.002, 0.05, 1000.0)


def control(flags: int = RTDEControlInterface.FLAG_UPLOAD_SCRIPT) -> RTDEControlInterface:
    return RTDEControlInterface(HOST, RATE_HZ, flags)


def receive() -> RTDEReceiveInterface:
    return RTDEReceiveInterface(HOST, RATE_HZ)


def dashboard() -> DashboardClient:
    client = DashboardClient(HOST)
    client.connect()
    return client


def wait_until(condition: Any, seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.005)
    return False


def settled(ask: Any) -> Any:
    """The answer to a question that the client does not wait for: the first call returns what was there before."""
    ask()
    time.sleep(0.05)
    return ask()


def say_and_wait(text: str) -> None:
    """Hand over to the test and wait until it says so."""
    print(text, flush=True)
    sys.stdin.readline()


def moved(q: list[float], joint: int, by: float) -> list[float]:
    return [value + (by if index == joint else 0.0) for index, value in enumerate(q)]


def stream() -> Any:
    r = receive()
    stamps = []
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        stamps.append(r.getTimestamp())
        time.sleep(0.0005)
    return {"stamps": sorted(set(stamps)), "ordered": stamps == sorted(stamps), "mode": r.getRobotMode()}


def move_j() -> Any:
    r, c = receive(), control()
    start = r.getActualQ()
    goal = moved(start, 0, 0.3)
    done = c.moveJ(goal, 1.0, 2.0)
    wait_until(lambda: abs(r.getActualQ()[0] - goal[0]) < 1e-6, seconds=2.0)  # the other connection is a tick behind
    return {"done": done, "goal": goal, "q": r.getActualQ(), "target": r.getTargetQ()}


def servo_j() -> Any:
    r, c = receive(), control()
    start = r.getActualQ()
    worst = 0.0
    began = time.monotonic()
    while (elapsed := time.monotonic() - began) < 2.0:
        period = c.initPeriod()
        target = moved(start, 0, 0.2 * (1 - math.cos(elapsed)))
        assert c.servoJ(target, *SERVO)
        worst = max(worst, abs(target[0] - r.getActualQ()[0]))
        c.waitPeriod(period)
    time.sleep(0.5)  # silence: goes to the last target and holds
    held = r.getActualQ()
    time.sleep(0.3)
    return {"worst": worst, "target": target, "held": held, "later": r.getActualQ(), "stopped": c.servoStop()}


def speed_j() -> Any:
    r, c = receive(), control()
    c.speedJ([0.1, 0, 0, 0, 0, 0], 2.0, 0.1)
    time.sleep(0.5)  # silence, far beyond the time given
    moving = r.getActualQd()
    stopped = c.speedStop()
    time.sleep(0.1)
    return {"moving": moving, "stopped": stopped, "after": r.getActualQd()}


def lines() -> Any:
    r, c = receive(), control()
    start = r.getActualTCPPose()
    goal = [*start[:2], start[2] - 0.05, *start[3:]]
    done = c.moveL(goal, 0.2, 1.0)
    reached = r.getActualTCPPose()
    c.speedL([0, 0, 0.05, 0, 0, 0], 0.5, 0)
    time.sleep(0.4)
    speed = r.getActualTCPSpeed()
    return {"done": done, "goal": goal, "reached": reached, "speed": speed, "stopped": c.speedStop()}


def paths() -> Any:
    r, c = receive(), control()
    start = r.getActualQ()
    done = c.moveJ([[*moved(start, 0, 0.1), 1.0, 2.0, 0.0], [*moved(start, 0, 0.2), 1.0, 2.0, 0.0]])
    after = r.getActualQ()
    script = f"movej([{','.join(map(str, start))}],a=2.0,v=1.0)"
    custom = c.sendCustomScriptFunction("back_home", script)
    return {"done": done, "moved": after[0] - start[0], "custom": custom, "back": r.getActualQ()[0] - start[0]}


def asynchronous() -> Any:
    r, c = receive(), control()
    goal = moved(r.getActualQ(), 0, 1.0)
    c.moveJ(goal, 0.5, 2.0, True)
    wait_until(lambda: c.getAsyncOperationProgress() >= 0)
    running = c.getAsyncOperationProgress()
    wait_until(lambda: abs(r.getActualQd()[0]) > 0.2)
    c.stopJ(5.0)
    wait_until(lambda: c.getAsyncOperationProgress() < 0)
    time.sleep(0.2)
    return {"running": running, "ended": c.getAsyncOperationProgress(), "qd": r.getActualQd(), "steady": c.isSteady()}


def answers() -> Any:
    r, c = receive(), control()
    offset = [0.0, 0.0, 0.163, 0.1, 0.0, 0.0]
    c.setTcp(offset)
    c.setPayload(1.2, [0.0, 0.0, 0.05])
    time.sleep(0.05)
    pose = r.getActualTCPPose()
    return {
        "q": r.getActualQ(),
        "pose": pose,
        "offset": c.getTCPOffset(),
        "payload": r.getPayload(),
        "cog": r.getPayloadCog(),
        "inverse": c.getInverseKinematics(pose),
        "reachable": c.getInverseKinematicsHasSolution(pose),
        "unreachable": c.getInverseKinematicsHasSolution([2.0, 0, 0, 0, 0, 0]),
        "within": c.isPoseWithinSafetyLimits(pose),
        "trans": c.poseTrans(pose, [0, 0, 0.1, 0, 0, 0]),
        "flange": settled(c.getActualToolFlangePose),
        "step": settled(c.getStepTime),
        "running": c.isProgramRunning(),
    }


def unreachable() -> Any:
    _, c = receive(), control()
    said = c.servoL([3.0, 0, 0, 0, 0, 0], *SERVO)
    stopped = wait_until(lambda: not c.isProgramRunning())
    return {"said": said, "stopped": stopped}


def unsupported() -> Any:
    c = control()
    said = c.forceMode([0.0] * 6, [0, 0, 1, 0, 0, 0], [0.0] * 6, 2, [0.1] * 6)
    stopped = wait_until(lambda: not c.isProgramRunning())
    return {"said": said, "stopped": stopped, "next": c.moveJ([0.0] * 6)}


def two_threads() -> Any:
    r, c = receive(), control()
    q = r.getActualQ()
    c.servoJ(moved(q, 0, 0.01), *SERVO)
    time.sleep(0.05)
    return {"moved": c.moveJ(q), "running": c.isProgramRunning()}


def upper_registers() -> Any:
    r, c = receive(), control(RTDEControlInterface.FLAG_UPLOAD_SCRIPT | RTDEControlInterface.FLAG_UPPER_RANGE_REGISTERS)
    start = r.getActualQ()
    return {"done": c.moveJ(moved(start, 5, 0.1), 1.0, 2.0), "moved": r.getActualQ()[5] - start[5]}


def second_control() -> Any:
    first = control()
    try:
        control()
    except RuntimeError as error:
        return {"error": str(error), "first": first.isProgramRunning()}
    return {"error": "", "first": first.isProgramRunning()}


def local_mode() -> Any:
    try:
        control()
    except (RuntimeError, ValueError, TypeError) as error:
        return {"error": str(error)}
    return {"error": ""}


def watchdog() -> Any:
    """Streams until it is killed."""
    r, c = receive(), control()
    assert c.setWatchdog(20.0)
    start, began = r.getActualQ(), time.monotonic()
    announced = False
    while True:
        period = c.initPeriod()
        elapsed = time.monotonic() - began
        if not c.servoJ(moved(start, 0, 0.4 * (1 - math.cos(elapsed))), *SERVO):
            return {"stopped_after": elapsed}
        if elapsed > 0.8 and not announced:
            print("moving", flush=True)
            announced = True
        c.waitPeriod(period)


def watchdog_kills_a_blocking_move() -> Any:
    r, c = receive(), control()
    c.setWatchdog(10.0)
    done = c.moveJ(moved(r.getActualQ(), 0, 1.0), 0.5, 1.0)
    return {"done": done, "running": c.isProgramRunning()}


def protective_stop() -> Any:
    r, c, d = receive(), control(), dashboard()
    start, began = r.getActualQ(), time.monotonic()
    refused = False
    while not refused:
        period = c.initPeriod()
        elapsed = time.monotonic() - began
        refused = not c.servoJ(moved(start, 0, 0.4 * (1 - math.cos(elapsed))), *SERVO)
        if elapsed > 0.8 and not r.isProtectiveStopped():
            c.triggerProtectiveStop()
        c.waitPeriod(period)
    flags = {"protective": wait_until(r.isProtectiveStopped), "emergency": r.isEmergencyStopped()}
    early = ""
    try:
        d.unlockProtectiveStop()
    except (RuntimeError, ValueError) as error:
        early = str(error)
    wait_until(lambda: max(map(abs, r.getActualQd())) < 1e-3)
    rest = r.getActualQ()
    time.sleep(5.1)
    d.closeSafetyPopup()
    d.stop()
    d.unlockProtectiveStop()
    cleared = wait_until(lambda: not r.isProtectiveStopped())
    unmoved = r.getActualQ()
    uploaded = c.reuploadScript() and wait_until(c.isProgramRunning)
    return {
        **flags,
        "early": early,
        "cleared": cleared,
        "drift": max(abs(a - b) for a, b in zip(rest, unmoved, strict=True)),
        "uploaded": uploaded,
        "moved": c.moveJ(start, 1.0, 2.0),
    }


def resume_continues() -> Any:
    """A paused program goes on with what it was doing."""
    r, c, d = receive(), control(), dashboard()
    goal = moved(r.getActualQ(), 0, 0.8)
    c.moveJ(goal, 0.8, 2.0, True)
    wait_until(lambda: abs(r.getActualQd()[0]) > 0.4)
    d.pause()
    wait_until(lambda: max(map(abs, r.getActualQd())) < 1e-3)
    paused, state = r.getActualQ()[0], d.programState()
    d.play()
    arrived = wait_until(lambda: abs(r.getActualQ()[0] - goal[0]) < 1e-3)
    return {"paused_short_of_goal": goal[0] - paused, "state": state, "arrived": arrived}


def emergency_stop() -> Any:
    r, c, d = receive(), control(), dashboard()
    start = r.getActualQ()
    c.speedJ([0.5, 0, 0, 0, 0, 0], 5.0, 0)
    wait_until(lambda: r.getActualQd()[0] > 0.45)
    say_and_wait("moving")
    stopped = wait_until(r.isEmergencyStopped)
    off = wait_until(lambda: r.getRobotMode() == 3)
    refused = not c.servoJ(start, *SERVO)
    say_and_wait("stopped")  # the button is turned back
    wait_until(lambda: not r.isEmergencyStopped())
    d.powerOn()
    idle = wait_until(lambda: r.getRobotMode() == 5)
    d.brakeRelease()
    running = wait_until(lambda: r.getRobotMode() == 7)
    uploaded = c.reuploadScript() and wait_until(c.isProgramRunning)
    return {
        "stopped": stopped,
        "off": off,
        "refused": refused,
        "idle": idle,
        "running": running,
        "uploaded": uploaded,
        "moved": c.moveJ(start, 1.0, 2.0),
        "state": d.programState(),
    }


def hold_connections() -> Any:
    """Streams until its link is cut; the reconnecting client is beyond help, so it only waits to be killed."""
    _, c = receive(), control()
    print("connected", flush=True)
    time.sleep(60.0)
    return c.isConnected()


def silent_link() -> Any:
    r = receive()
    say_and_wait("connected")
    frozen = r.getTimestamp()
    time.sleep(0.5)
    still_frozen = r.getTimestamp()
    say_and_wait("frozen")
    woke = wait_until(lambda: r.getTimestamp() > still_frozen + 0.1)
    return {"silence": still_frozen - frozen, "woke": woke}


def outputs() -> Any:
    r, io = receive(), RTDEIOInterface(HOST)
    io.setStandardDigitalOut(3, True)
    io.setConfigurableDigitalOut(1, True)
    io.setToolDigitalOut(0, True)
    io.setAnalogOutputVoltage(0, 0.5)
    io.setSpeedSlider(0.4)
    wait_until(lambda: abs(r.getSpeedScaling() - 0.4) < 1e-6)
    bits = r.getActualDigitalOutputBits()
    io.setStandardDigitalOut(3, False)
    cleared = wait_until(lambda: not r.getDigitalOutState(3))
    analog, slider = r.getStandardAnalogOutput0(), r.getTargetSpeedFraction()
    scaling = r.getSpeedScaling()
    io.setSpeedSlider(1.0)
    wait_until(lambda: r.getSpeedScaling() == 1.0)
    io.disconnect()
    return {"bits": bits, "cleared": cleared, "analog": analog, "slider": slider, "scaling": scaling}


def dashboard_talk() -> Any:
    d = dashboard()
    d.popup("hello")
    d.closePopup()
    return {
        "version": d.polyscopeVersion(),
        "serial": d.getSerialNumber(),
        "mode": d.robotmode(),
        "safety": d.safetymode(),
        "status": d.safetystatus(),
        "program": d.programState(),
        "running": d.running(),
        "remote": d.isInRemoteControl(),
        "model": d.getRobotModel(),
        "loaded": d.getLoadedProgram(),
    }


def dashboard_talk_or_error() -> Any:
    try:
        return dashboard_talk()
    except RuntimeError as error:
        return {"error": str(error)}


def freedrive() -> Any:
    r, c = receive(), control()
    before = r.getActualQ()
    c.teachMode()
    say_and_wait("free")
    pushed = wait_until(lambda: r.getActualQ()[0] - before[0] > 0.03)
    c.endTeachMode()
    time.sleep(0.1)
    return {"pushed": pushed, "qd": r.getActualQd()}


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]]()), flush=True)
    os._exit(0)  # the client's destructors sleep for half a second each, and some throw
