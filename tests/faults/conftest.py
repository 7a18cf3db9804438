"""Sites of twins on loopback addresses of their own."""

from pathlib import Path

import pytest

TWIN_SITE = Path(__file__).parents[2] / "launch" / "sites" / "twin.yaml"


@pytest.fixture(scope="session")
def fault_site(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The twin's site moved to an address that no other suite uses, and that address."""
    host = "127.0.1.240"
    path = tmp_path_factory.mktemp("site") / "twin.yaml"
    path.write_text(TWIN_SITE.read_text(encoding="utf-8").replace("127.0.0.2", host), encoding="utf-8")
    return path, host
