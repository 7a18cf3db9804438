"""What was imagined is held against what then happened."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from mola_core.contracts.clock import NS_PER_MS
from mola_core.contracts.site import SafetySpec
from mola_core.runtime import stages
from mola_core.runtime.divergence import Divergence, DivergenceGuard, DivergenceMeter, Measure
from mola_core.runtime.foresight import Foresight

TOLERANCE_NS = 40 * NS_PER_MS
TEMPLATE = Path(__file__).parents[2] / "launch" / "sites" / "template.yaml"


def foresight(stamp_ms: int, values: tuple[float, float, float], **changes: object) -> Foresight:
    """Features all equal to a value a frame: now, in 200 ms, in 400 ms."""
    features = np.broadcast_to(np.array(values, np.float16)[None, :, None, None, None], (2, 3, 4, 5, 5))
    fields = {
        "stamp_ns": stamp_ms * NS_PER_MS,
        "bundle_id": "m/1",
        "instruction": "press",
        "cameras": ("a", "b"),
        "offsets_ns": (0, 200 * NS_PER_MS, 400 * NS_PER_MS),
        "tensors": {stages.FEATURES: features},
        "noise_seed": 0,
    }
    return Foresight(**{**fields, **changes})  # type: ignore[arg-type]


def test_what_came_true_has_no_divergence_and_what_did_not_has() -> None:
    meter = DivergenceMeter(tolerance_ns=TOLERANCE_NS)
    assert meter.update(foresight(0, (1.0, 2.0, 4.0))) is None
    true = meter.update(foresight(210, (2.0, 4.0, 8.0)))
    assert true is not None
    assert true.value == pytest.approx(0.0, abs=1e-5)
    assert true.persistence == pytest.approx(0.5, abs=1e-3)
    assert true.horizon_ns == 200 * NS_PER_MS
    wrong = meter.update(foresight(400, (1.0, 1.0, 1.0)))
    assert wrong is not None
    assert wrong.value == pytest.approx(3.0, abs=1e-2), "the oldest foresight that spoke of this moment counts"
    assert wrong.horizon_ns == 400 * NS_PER_MS


@pytest.mark.parametrize(
    ("stamp_ms", "changes"),
    [(100, {}), (250, {}), (200, {"bundle_id": "m/2"}), (200, {"instruction": "pull"}), (200, {"tensors": {}})],
)
def test_what_does_not_speak_of_the_same_is_not_compared(stamp_ms: int, changes: dict[str, object]) -> None:
    meter = DivergenceMeter(tolerance_ns=TOLERANCE_NS)
    meter.update(foresight(0, (1.0, 2.0, 4.0)))
    assert meter.update(foresight(stamp_ms, (1.0, 1.0, 1.0), **changes)) is None


def test_another_episode_knows_nothing_of_the_last() -> None:
    meter = DivergenceMeter(tolerance_ns=TOLERANCE_NS)
    meter.update(foresight(0, (1.0, 2.0, 4.0)))
    meter.reset()
    assert meter.update(foresight(200, (1.0, 1.0, 1.0))) is None


def comparison(value: float) -> Divergence:
    return Divergence(stamp_ns=0, horizon_ns=1, value=value, persistence=1.0)


def test_beyond_the_first_limit_it_slows_and_twice_beyond_the_second_it_stops() -> None:
    guard = DivergenceGuard(SafetySpec(divergence_slow=0.5, divergence_stop=1.0))
    seen = [guard.judge(comparison(value)) for value in (0.4, 0.6, 1.1, 0.4, 1.1, 1.1, 0.1)]
    assert [measure.value for measure in seen] == [
        "normal", "slowed", "slowed", "normal", "slowed", "stopped", "stopped"
    ]  # fmt: skip
    assert guard.speed == 0.0
    guard.reset()
    assert (guard.measure, guard.speed) == (Measure.NORMAL, 1.0)


def test_without_limits_it_only_watches() -> None:
    guard = DivergenceGuard(SafetySpec())
    assert [guard.judge(comparison(99.0)) for _ in range(5)] == [Measure.NORMAL] * 5


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_beyond_every_limit(value: float) -> None:
    guard = DivergenceGuard(SafetySpec(divergence_slow=0.5, divergence_stop=1.0))
    assert [guard.judge(comparison(value)) for _ in range(2)] == [Measure.SLOWED, Measure.STOPPED]
    only_slow = DivergenceGuard(SafetySpec(divergence_slow=0.5))
    assert only_slow.judge(comparison(value)) is Measure.SLOWED
    assert DivergenceGuard(SafetySpec()).judge(comparison(value)) is Measure.NORMAL


def test_features_that_are_not_numbers_are_beyond_every_limit() -> None:
    meter, guard = DivergenceMeter(tolerance_ns=TOLERANCE_NS), DivergenceGuard(SafetySpec(divergence_slow=0.5))
    meter.update(foresight(0, (1.0, float("nan"), 4.0)))
    divergence = meter.update(foresight(200, (1.0, 1.0, 1.0)))
    assert divergence is not None
    assert guard.judge(divergence) is Measure.SLOWED


def test_limits_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValueError, match=r"divergence_slow=2.0 is above divergence_stop=1.0"):
        SafetySpec(divergence_slow=2.0, divergence_stop=1.0)


@pytest.mark.parametrize("key", ["divergence_slow", "divergence_stop"])
def test_the_template_of_a_site_names_both_limits_and_where_to_see_what_they_bound(key: str) -> None:
    template = TEMPLATE.read_text(encoding="utf-8")
    (line,) = (line for line in template.splitlines() if line.startswith(f"#   {key}:"))
    assert yaml.safe_load(line.removeprefix("#")) == {key: getattr(SafetySpec(), key)}
    assert "/mola/policy_health" in template
