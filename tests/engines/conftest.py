"""One small model, exported once: everything else here looks at what came out."""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # micro_model; import mode importlib does not

from micro_model import micro_model  # found through the line above

from mola_core.export.bundle_making import make_bundle
from mola_core.export.draft import Draft
from mola_core.export.exporting import Exportable, ExportPlan, export_model
from mola_core.export.stages import StageOptions


@pytest.fixture(scope="session")
def model() -> Exportable:
    return micro_model()


@pytest.fixture(scope="session")
def draft(model: Exportable, tmp_path_factory: pytest.TempPathFactory) -> Draft:
    plan = ExportPlan(name="micro", version="1", options=StageOptions())
    return export_model(model, tmp_path_factory.mktemp("export") / "draft", plan=plan)


@pytest.fixture(scope="session")
def bundle(draft: Draft, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(draft, tmp_path_factory.mktemp("models"))


@pytest.fixture
def copied(bundle: Path, tmp_path: Path) -> Path:
    """A copy of the bundle that a test may damage."""
    copy = tmp_path / "micro" / "1"
    shutil.copytree(bundle, copy, copy_function=shutil.copyfile)
    return copy
