"""The shipped site for another address or a slower machine is still a site, and differs in nothing else."""

from pathlib import Path

import pytest

from mola_core.contracts.errors import ConfigError
from mola_core.contracts.site import Site, load_site
from mola_twin.moved_site import site_at

SITE = Path(__file__).parents[2] / "launch/sites/twin.yaml"


def changed(tmp_path: Path, **settings) -> Site:
    path = tmp_path / "site.yaml"
    path.write_text(site_at(SITE, **settings), encoding="utf-8")
    return load_site(path)


def test_every_address_is_moved(tmp_path: Path) -> None:
    assert "127.0.0.2" not in site_at(SITE, host="127.0.0.9")
    assert changed(tmp_path, host="127.0.0.9").arm.host == "127.0.0.9"
    assert changed(tmp_path, host="127.0.0.2") == load_site(SITE)


@pytest.mark.parametrize(("fps", "stale"), [(15, 2.0), (30, 1.0), (60, 1.0)])
def test_with_slower_cameras_inputs_may_be_as_much_older(tmp_path: Path, fps: int, stale: float) -> None:
    shipped, site = load_site(SITE), changed(tmp_path, host="127.0.0.2", fps=fps)
    assert {camera.fps for camera in site.cameras.values()} == {fps}
    assert site.safety.stale_ms == stale * shipped.safety.stale_ms
    assert site.model_copy(update={"cameras": shipped.cameras, "safety": shipped.safety}) == shipped


def test_what_is_no_site_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        site_at(tmp_path / "nothing.yaml", host="127.0.0.2")
