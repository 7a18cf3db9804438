"""Where ROS packages are installed, read from ament's index as ``ament_index_python`` does."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from mola_core.contracts.errors import ConfigError
from mola_core.launching.errors import nearest

PREFIXES = "AMENT_PREFIX_PATH"
_INDEX = Path("share") / "ament_index" / "resource_index" / "packages"


def package_prefix(name: str, *, environment: Mapping[str, str]) -> Path:
    """The first prefix on ``AMENT_PREFIX_PATH`` whose index lists package ``name``.

    Raises:
        ConfigError: there is none.
    """
    prefixes = [Path(entry) for entry in environment.get(PREFIXES, "").split(os.pathsep) if entry]
    for prefix in prefixes:
        if name and (prefix / _INDEX / name).is_file():
            return prefix
    known = {entry.name for prefix in prefixes if (prefix / _INDEX).is_dir() for entry in (prefix / _INDEX).iterdir()}
    if len(known) > 20:
        known = {entry for entry in known if entry.startswith("mola_")}
    raise ConfigError(
        f"package {name!r} is not under {PREFIXES} ({environment.get(PREFIXES) or 'empty'}); "
        f"build the workspace (make setup) or source its setup.bash; {nearest(name, known)}"
    )


def package_share(name: str, *, environment: Mapping[str, str]) -> Path:
    """The share directory of package ``name``."""
    return package_prefix(name, environment=environment) / "share" / name


def package_executable(package: str, executable: str, *, environment: Mapping[str, str]) -> Path:
    """The program ``lib/<package>/<executable>`` of an installed package.

    Raises:
        ConfigError: no such package, or it has no such program.
    """
    directory = package_prefix(package, environment=environment) / "lib" / package
    found = shutil.which(executable, path=str(directory))
    if found is None:
        known = {entry.name for entry in directory.iterdir()} if directory.is_dir() else set()
        raise ConfigError(f"package {package!r} has no executable {executable!r}; {nearest(executable, known)}")
    return Path(found)
