"""A bundle is refused where the site would stop the arm within a plan, and says when its halves belong in one process."""

from pathlib import Path

import pytest
import yaml
from altered import rewrite

from mola_core.cli import main
from mola_core.contracts.bundle import BundleError, read_manifest, require_plan_age, require_site
from mola_core.contracts.clock import NS_PER_MS
from mola_core.contracts.crossing import MESSAGE_BYTES, crossing_bytes, why_together
from mola_core.contracts.plan_age import INFERENCE_NS
from mola_core.contracts.site import SafetySpec, Site, load_site
from mola_core.training.recipes.full import full

ROOT = Path(__file__).parents[2]
TWIN = load_site(ROOT / "launch/sites/twin.yaml")


def following(*, max_observation_age_ms: int) -> Site:
    return TWIN.model_copy(update={"safety": SafetySpec(max_observation_age_ms=max_observation_age_ms)})


def test_a_site_that_would_stop_the_arm_within_a_plan_is_refused_with_both_ages(bundle: Path) -> None:
    """Three rows of 100 ms, but no answer is asked for before the last came, 400 ms after its picture; then all six rows."""
    manifest = read_manifest(bundle)
    require_site(manifest, following(max_observation_age_ms=800))
    said = (
        r"3 rows of 100 ms on site 'twin': a plan would be 800 ms old .* max_observation_age_ms is 799; .* 800 or more"
    )
    with pytest.raises(BundleError, match=said):
        require_site(manifest, following(max_observation_age_ms=799))
    with pytest.raises(BundleError, match=r"6 rows of 100 ms .* would be 1000 ms old"):
        require_plan_age(manifest, following(max_observation_age_ms=999), rows=manifest.io.horizon)


@pytest.mark.parametrize("half", ["imagination", "policy"])
def test_a_site_gives_an_answer_the_time_after_which_a_bundle_is_taken_out(half: str) -> None:
    (said,) = yaml.safe_load((ROOT / f"launch/params/{half}.yaml").read_text(encoding="utf-8")).values()
    assert said["ros__parameters"]["late_ms"] * NS_PER_MS == INFERENCE_NS


def test_a_new_rig_follows_the_shipped_bundle_and_the_full_size_recipe_as_they_are_meant() -> None:
    new = TWIN.model_copy(update={"safety": SafetySpec()})
    manifest = read_manifest(ROOT / "models/twin/8")
    require_site(manifest, new)
    io = full().io
    require_plan_age(manifest.model_copy(update={"io": io}), new, rows=io.execute_steps)


def test_the_twin_follows_the_shipped_bundle_in_every_mode() -> None:
    manifest = read_manifest(ROOT / "models/twin/8")
    require_plan_age(manifest, TWIN, rows=manifest.io.horizon)


def test_what_does_not_cross_in_one_message_belongs_in_one_process(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert why_together(read_manifest(copied)) == ""
    assert main(["bundle", "verify", str(copied)]) == 0
    assert "composed" not in capsys.readouterr().out
    stages = read_manifest(copied).model_dump()["stages"]
    (features,) = (item for item in stages["actor"]["inputs"] if item["name"] == "features")
    features |= {"shape": [2, 16, 2560, 16, 16], "dtype": "float16"}  # the full-size model's
    manifest = rewrite(copied, stages=stages)
    assert crossing_bytes(manifest) == 2 * 16 * 2560 * 16 * 16 * 2
    assert main(["bundle", "verify", str(copied)]) == 0
    assert "note: bundle micro/1 hands 41.9 MB from imagination to policy" in capsys.readouterr().out
    assert why_together(manifest).endswith("composed:=true")
    assert main(["bundle", "show", str(copied)]) == 0
    assert "41.94 MB" in capsys.readouterr().out


def test_one_message_is_as_large_as_the_transport_is_told() -> None:
    profile = (ROOT / "launch/dds/fastdds.xml").read_text(encoding="utf-8")
    assert f"<maxMessageSize>{MESSAGE_BYTES}</maxMessageSize>" in profile
