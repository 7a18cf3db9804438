"""Which bundles the demo of the learned policy shows when none is named."""

from pathlib import Path

import pytest

from mola_core.contracts.bundle import MANIFEST
from mola_core.contracts.errors import ConfigError
from mola_nodes.demo.learned import bundles_to_show


def _folder(models: Path, *names: str) -> Path:
    for name in names:
        path = models / name / MANIFEST
        path.parent.mkdir(parents=True)
        path.touch()
    return models


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["twin/1"], ("twin/1",)),
        (["twin/1", "twin/2"], ("twin/1", "twin/2")),
        (["twin/9", "twin/10", "twin/8"], ("twin/9", "twin/10")),
        (["twin/trial", "twin/1"], ("twin/trial", "twin/1")),
    ],
)
def test_the_newest_takes_over_from_the_one_before(tmp_path: Path, names: list[str], shown: tuple[str, ...]) -> None:
    assert bundles_to_show(_folder(tmp_path, *names)) == shown


def test_a_folder_without_bundles_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no bundle; make one"):
        bundles_to_show(tmp_path)
