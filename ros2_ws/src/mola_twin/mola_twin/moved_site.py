"""A twin's site at another loopback address, where several live side by side, or with slower cameras, where a machine is slow."""

from pathlib import Path

import yaml

from mola_core.contracts.site import load_site


def site_at(site_path: Path, *, host: str, fps: int | None = None) -> str:
    """The text of the site file with every address of the twin replaced by ``host``, and the rate of its cameras by ``fps`` if given.

    How old inputs may become is counted in pictures: with slower cameras they may become as much older.

    Raises:
        ConfigError: the file is missing or is not a site.
    """
    site = load_site(site_path)  # its errors are better than ours
    content = yaml.safe_load(site_path.read_text(encoding="utf-8"))
    for section in (content["arm"], content["gripper"], *content["cameras"].values()):
        if "host" in section:
            section["host"] = host
    if fps is not None:
        slower = max(camera.fps for camera in site.cameras.values()) / fps
        for camera in content["cameras"].values():
            camera["fps"] = fps
        if slower > 1.0:
            content.setdefault("safety", {})["stale_ms"] = round(site.safety.stale_ms * slower)
    return str(yaml.safe_dump(content))
