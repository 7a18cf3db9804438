"""Checks of what is installed: Python, the set-up, ROS 2, rendering, librealsense, GPU runtimes."""

import importlib.util
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from mola_core.cli.doctor.finding import Context, Finding, missing, note, ok
from mola_core.cli.doctor.probing import ProbeFailed, run_probe
from mola_core.cli.report import gpus
from mola_core.contracts.site import RealsenseCameraSpec

_REPOSITORY = Path(__file__).resolve().parents[3]
_SETUP = _REPOSITORY / "docker" / "setup"


def python(_: Context) -> Sequence[Finding]:
    """Jazzy's Pythons."""
    version = platform.python_version()
    if (3, 11) <= sys.version_info[:2] <= (3, 12):
        return [ok("Python", f"{version} in {sys.prefix}")]
    return [missing("Python", version, "use 3.11 or 3.12: make setup PYTHON=python3.12")]


def setup(_: Context) -> Sequence[Finding]:
    """Packages of the system, and whether the environment matches the sources; asked of the set-up itself."""
    if Path(sys.prefix) != _REPOSITORY / ".venv":
        return [
            note("set-up", f"not ours: Python lives in {sys.prefix}", "after pulling, build the workspace with colcon")
        ]
    result = subprocess.run([sys.executable, _SETUP, "--status"], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        return [missing("set-up", f"cannot be asked: {result.stderr.strip()[-200:]}", "make setup")]
    status = json.loads(result.stdout)
    packages, stale = status["missing"], status["stale"]
    return [
        missing("system packages", f"lacks {' '.join(packages)}", f"sudo apt-get install -y {' '.join(packages)}")
        if packages
        else ok("system packages", "all there"),
        missing("workspace", f"stale: {', '.join(stale)}", "make setup") if stale else ok("workspace", "up to date"),
    ]


def ros(_: Context) -> Sequence[Finding]:
    """ROS 2 and our messages load."""
    findings = []
    answer = run_probe("ros")
    if isinstance(answer, ProbeFailed):
        cure = "make setup; on a ROS 2 machine: source /opt/ros/jazzy/setup.bash and build ros2_ws with colcon"
        return [missing("ROS 2", answer.reason, cure)]
    distro = answer["distro"] or "Jazzy from wheels"
    findings.append(ok("ROS 2", f"{distro}, rclpy {answer['rclpy']}, {answer['rmw']}"))
    foreign = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if "/ros/" in path]
    if foreign and not answer["distro"].startswith("Jazzy"):
        cure = "use a shell that has not sourced ROS, or the workspace built with it"
        findings.append(note("sourced ROS", f"PYTHONPATH names {foreign[0]} beside this environment", cure))
    return findings


def rendering(_: Context) -> Sequence[Finding]:
    """A frame is rendered without a screen."""
    answer = run_probe("rendering", MUJOCO_GL="egl")
    cure = "sudo apt-get install -y libegl1 libegl-mesa0 libgl1-mesa-dri"
    if isinstance(answer, ProbeFailed):
        return [missing("rendering", answer.reason, cure)]
    if answer["levels"] < 2:
        return [missing("rendering", f"{answer['renderer']} renders an empty frame", cure)]
    return [ok("rendering", f"EGL on {answer['renderer']}, {answer['frame_ms']:.1f} ms for 64×64")]


def cameras(context: Context) -> Sequence[Finding]:
    """librealsense loads; the site's cameras are plugged in, on USB 3."""
    answer = run_probe("realsense")
    if isinstance(answer, ProbeFailed):
        return [missing("librealsense", answer.reason, "sudo apt-get install -y libusb-1.0-0", twin=False)]
    found = {camera["serial"]: camera for camera in answer["cameras"]}
    names = ", ".join(f"{camera['name']} {serial} (USB {camera.get('usb', '?')})" for serial, camera in found.items())
    findings = [ok("librealsense", f"{answer['version']}; cameras: {names or 'none'}")]
    findings += [
        note("USB", f"{serial} is on USB {camera['usb']}", "use a USB 3 port and cable")
        for serial, camera in found.items()
        if camera.get("usb", "3").startswith("2")
    ]
    for name, spec in (context.site.cameras if context.site else {}).items():
        if isinstance(spec, RealsenseCameraSpec) and spec.serial not in found:
            cure = f"plug it in, or correct cameras.{name}.serial"
            findings.append(missing(f"camera {name}", f"{spec.model} {spec.serial} is absent", cure, twin=False))
    return findings


def usb_permissions(_: Context) -> Sequence[Finding]:
    """Whether a user may open the cameras."""
    if os.geteuid() == 0:
        return [ok("USB permissions", "root may open every device")]
    rules = [path for folder in ("/etc/udev/rules.d", "/lib/udev/rules.d") for path in Path(folder).glob("*realsense*")]
    if rules:
        return [ok("USB permissions", str(rules[0]))]
    cure = "install librealsense's 99-realsense-libusb.rules in /etc/udev/rules.d, then: sudo udevadm control --reload"
    return [note("USB permissions", "no udev rule lets users open RealSense cameras", cure)]


def gpu(_: Context) -> Sequence[Finding]:
    """NVIDIA GPU and the runtimes of engines; the scripted policy needs none of them."""
    found = gpus()
    names = ", ".join(f"{item['name']} ({item['memory']}, driver {item['driver']})" for item in found)
    runtimes = [name for name in ("tensorrt", "tensorrt_rtx", "onnxruntime") if importlib.util.find_spec(name)]
    findings = [ok("GPU", names) if found else note("GPU", "no NVIDIA GPU; engines run on the CPU")]
    if runtimes:
        return [*findings, ok("engine runtimes", ", ".join(runtimes))]
    return [*findings, note("engine runtimes", "none; only scripted policies can run")]
