import math

import pytest

from mola_core.training.averaging import decay_at
from mola_core.training.recipe import ConstantSchedule, CosineSchedule, TriStageSchedule
from mola_core.training.schedule import learning_rate_ratio


def test_a_constant_schedule_warms_up_and_stays() -> None:
    schedule = ConstantSchedule(warmup_steps=4)
    ratios = [learning_rate_ratio(schedule, step=step, steps=10) for step in range(10)]
    assert ratios == pytest.approx([0.2, 0.4, 0.6, 0.8, *[1.0] * 6])


def test_a_cosine_schedule_follows_its_closed_form() -> None:
    schedule = CosineSchedule(warmup_steps=10, final_ratio=0.1)
    for step in (10, 37, 60, 109):
        expected = 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * (step - 10) / 100))
        assert learning_rate_ratio(schedule, step=step, steps=110) == pytest.approx(expected)
    assert learning_rate_ratio(schedule, step=0, steps=110) == pytest.approx(1 / 11)
    assert learning_rate_ratio(schedule, step=10, steps=110) == 1.0


def test_the_three_stages_follow_the_release() -> None:
    schedule = TriStageSchedule()  # 2 % up from a tenth, 8 % held, 90 % half a cosine down to a millionth
    steps = 50_000
    assert learning_rate_ratio(schedule, step=0, steps=steps) == pytest.approx(0.1)
    assert learning_rate_ratio(schedule, step=500, steps=steps) == pytest.approx(0.1 + 0.9 * 500 / 1000)
    assert learning_rate_ratio(schedule, step=1_000, steps=steps) == 1.0
    assert learning_rate_ratio(schedule, step=4_999, steps=steps) == 1.0
    middle = learning_rate_ratio(schedule, step=5_000 + 22_500, steps=steps)
    assert middle == pytest.approx(1e-6 + (1 - 1e-6) * 0.5)
    assert learning_rate_ratio(schedule, step=steps, steps=steps) == pytest.approx(1e-6)


def test_phases_that_exceed_the_whole_are_refused() -> None:
    with pytest.raises(ValueError, match="together exceed 1"):
        TriStageSchedule(warmup_fraction=0.6, hold_fraction=0.5)


def test_an_average_forgets_its_first_weights_soon() -> None:
    assert decay_at(0, decay=0.999) == pytest.approx(0.1)
    assert decay_at(90, decay=0.999) == pytest.approx(0.91)
    assert decay_at(100_000, decay=0.999) == 0.999
