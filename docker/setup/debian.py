"""The few things that wheels cannot bring: a compiler, Python's headers, and OpenGL for rendering without a screen."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from steps import SetupError, Shell


@dataclass(frozen=True)
class Need:
    """One thing the machine must have, and the Debian package that brings it.

    It is looked for itself rather than its package: package names differ between releases (``libglib2.0-0t64``), and a
    machine may have got it another way.
    """

    package: str
    purpose: str
    present: Callable[[], bool]


def command(name: str) -> Callable[[], bool]:
    """Whether a command of this name can be run."""
    return lambda: shutil.which(name) is not None


def library(soname: str) -> Callable[[], bool]:
    """Whether the dynamic loader finds this shared library."""
    return lambda: soname in _loader_cache()


def drivers_of_mesa() -> bool:
    """Mesa's software renderer, in the place of Debian 12 and Ubuntu 22.04 or in that of newer releases."""
    places = ("dri/swrast_dri.so", "libgallium-*.so", "dri/libdril_dri.so")
    return any(any(Path("/usr/lib").glob(f"*/{place}")) for place in places)


SYSTEM_NEEDS = (
    Need("make", "this set-up", command("make")),
    Need("g++", "building the ROS messages", command("c++")),
    Need("git", "reports that name their commit", command("git")),
    Need("libegl1", "rendering without a screen", library("libEGL.so.1")),
    Need("libegl-mesa0", "rendering without a screen", library("libEGL_mesa.so.0")),
    Need("libgl1-mesa-dri", "rendering without a GPU", drivers_of_mesa),
    Need("libgl1", "OpenCV and MuJoCo", library("libGL.so.1")),
    Need("libglib2.0-0", "OpenCV", library("libglib-2.0.so.0")),
)


def missing(needs: Iterable[Need]) -> list[Need]:
    """The needs that this machine does not meet."""
    return [need for need in needs if not need.present()]


def install(needs: Iterable[Need], *, shell: Shell) -> None:
    """Install what is missing with apt-get if this is root on Debian; otherwise SetupError says the one command to run."""
    absent = missing(needs)
    if not absent:
        return
    packages = sorted({need.package for need in absent})
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise SetupError(f"this machine lacks some packages; run: sudo apt-get install -y {' '.join(packages)}")
    shell.run(["apt-get", "update"])
    options = ["--yes", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"]
    shell.run(["apt-get", "install", *options, *packages], DEBIAN_FRONTEND="noninteractive")
    _loader_cache.cache_clear()
    still = missing(absent)
    if still:
        raise SetupError("installed, but still not found: " + ", ".join(f"{n.package} ({n.purpose})" for n in still))


@cache
def _loader_cache() -> str:
    """What the dynamic loader knows (``ldconfig -p``; /sbin is not in every user's PATH)."""
    ldconfig = shutil.which("ldconfig") or "/sbin/ldconfig"
    return subprocess.run([ldconfig, "-p"], capture_output=True, text=True, check=True).stdout
