"""A twin's site at another loopback address: several twins live beside each other on one machine."""

from pathlib import Path

import yaml

from mola_core.contracts.site import load_site


def site_at(site_path: Path, *, host: str) -> str:
    """The text of the site file with every address of the twin replaced by ``host``.

    Raises:
        ConfigError: the file is missing or is not a site.
    """
    load_site(site_path)  # its errors are better than ours
    content = yaml.safe_load(site_path.read_text(encoding="utf-8"))
    for section in (content["arm"], content["gripper"], *content["cameras"].values()):
        if "host" in section:
            section["host"] = host
    return str(yaml.safe_dump(content))
