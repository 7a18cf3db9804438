"""Message definitions and type hashes as a bag carries them, from the share folders of the interface packages."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mola_core.data.episodes.meta import EpisodeError

_RULE = "=" * 80
_FIELD_TYPE = re.compile(r"^\s*([A-Za-z0-9_/]+)(?:\[[^\]]*\])?\s+", re.MULTILINE)
_PRIMITIVES = {
    *("bool", "byte", "char", "float32", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32"),
    *("int64", "uint64", "string", "wstring"),
}


@dataclass(frozen=True, slots=True)
class Definition:
    """Everything that a reader needs to decode one type."""

    type_name: str
    """E.g. ``sensor_msgs/msg/Image``."""
    text: str
    """ros2msg: its own definition, and after it those of all types that it is made of."""
    type_hash: str
    """RIHS01; empty where the package was built without it."""


class Definitions:
    """Reads definitions once each; ``share`` gives the share folder of a package (KeyError or LookupError: none)."""

    def __init__(self, share: Callable[[str], Path]) -> None:
        self._share = share
        self._known: dict[str, Definition] = {}

    def of(self, type_name: str) -> Definition:
        """The definition of a type like ``sensor_msgs/msg/Image``.

        Raises:
            EpisodeError: its package is not installed, or has no such message.
        """
        if type_name not in self._known:
            text = self._with_dependencies(_short(type_name), seen=set())
            self._known[type_name] = Definition(type_name=type_name, text=text, type_hash=self._hash(type_name))
        return self._known[type_name]

    def _with_dependencies(self, name: str, *, seen: set[str]) -> str:
        text = self._text(name)
        package = name.partition("/")[0]
        for dependency in sorted(_dependencies(text, package=package)):  # rosbag2 keeps them in a sorted set
            if dependency not in seen:
                seen.add(dependency)
                text += f"\n{_RULE}\nMSG: {dependency}\n{self._with_dependencies(dependency, seen=seen)}"
        return text

    def _text(self, name: str) -> str:
        try:
            return self._file(name, ".msg").read_text(encoding="utf-8")
        except OSError as error:
            raise EpisodeError(f"definition of {name} cannot be read ({error}); build the workspace") from error

    def _hash(self, type_name: str) -> str:
        try:
            content = json.loads(self._file(_short(type_name), ".json").read_text(encoding="utf-8"))
            hashes = {item["type_name"]: item["hash_string"] for item in content["type_hashes"]}
        except (OSError, ValueError, KeyError):
            return ""
        return str(hashes.get(type_name, ""))

    def _file(self, name: str, suffix: str) -> Path:
        package, _, message = name.partition("/")
        try:
            share = self._share(package)
        except LookupError as error:
            raise EpisodeError(f"package {package} is not installed; {name} cannot be recorded") from error
        return share / "msg" / f"{message}{suffix}"


def _dependencies(text: str, *, package: str) -> set[str]:
    names = {match for match in _FIELD_TYPE.findall(text) if match not in _PRIMITIVES}
    return {name if "/" in name else f"{package}/{name}" for name in names}


def _short(type_name: str) -> str:
    """``sensor_msgs/Image`` of ``sensor_msgs/msg/Image``."""
    package, kind, message = type_name.split("/")
    if kind != "msg":
        raise EpisodeError(f"{type_name} is no message; only topics are recorded")
    return f"{package}/{message}"
