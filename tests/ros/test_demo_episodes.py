"""What the demo makes of what the graph said during an episode."""

from builtin_interfaces.msg import Duration, Time
from mola_interfaces.action import RunPolicy
from mola_interfaces.msg import LatencyHop, LatencyReport, ServoStatus

from mola_nodes.demo.episodes import Heard, episode_result
from mola_nodes.demo.hops import HopFigures, hops_of


def hop(name: str, *, count: int, p50_ms: float, p99_ms: float, max_ms: float) -> LatencyHop:
    return LatencyHop(name=name, count=count, p50_ms=p50_ms, p99_ms=p99_ms, max_ms=max_ms)


REPORTS = [
    LatencyReport(
        hops=[
            hop("camera to servo", count=15, p50_ms=100.0, p99_ms=180.0, max_ms=190.0),
            hop("chunk received to servo", count=30, p50_ms=1.0, p99_ms=3.0, max_ms=4.0),
        ]
    ),
    LatencyReport(hops=[hop("camera to servo", count=0, p50_ms=0.0, p99_ms=0.0, max_ms=0.0)]),
    LatencyReport(
        hops=[
            hop("camera to servo", count=9, p50_ms=120.0, p99_ms=140.0, max_ms=144.0),
            hop("chunk received to servo", count=20, p50_ms=2.0, p99_ms=8.0, max_ms=9.0),
        ]
    ),
]


def test_every_hop_is_summed_up_over_the_windows_in_which_something_passed() -> None:
    assert hops_of(REPORTS) == (
        HopFigures("camera to servo", count=24, p50_ms=110.0, p99_ms=180.0, max_ms=190.0),
        HopFigures("chunk received to servo", count=50, p50_ms=1.5, p99_ms=8.0, max_ms=9.0),
    )
    assert hops_of(REPORTS[1:2]) == ()


def test_answers_and_messages_have_rates_of_their_own_and_a_new_servo_process_is_no_progress() -> None:
    result = episode_result(
        task="press_button",
        attempt=1,
        instruction="press the button",
        outcome=RunPolicy.Result(success=True, reason="done", duration=Duration(sec=6), chunks_sent=186),
        heard=Heard(
            statuses=[
                ServoStatus(stamp=Time(sec=10), ticks=5000, deadline_misses=100),
                ServoStatus(stamp=Time(sec=12), ticks=6000, deadline_misses=130),
                ServoStatus(stamp=Time(sec=13), ticks=10, deadline_misses=2),  # it was started anew
                ServoStatus(stamp=Time(sec=14), ticks=510, deadline_misses=7),
            ],
            reports=REPORTS,
            plans=90,
        ),
    )
    assert (result.plans, result.plan_rate_hz) == (90, 15.0)
    assert (result.messages, result.message_rate_hz) == (186, 31.0)
    assert (result.ticks, result.deadline_misses, result.command_rate_hz) == (1500, 35, 500.0)
    assert [hop.name for hop in result.hops] == ["camera to servo", "chunk received to servo"]
    assert result.camera_to_servo is result.hops[0]


def test_where_no_plan_was_executed_there_is_no_latency() -> None:
    outcome = RunPolicy.Result(success=False, reason="no foresight", duration=Duration())
    heard = Heard(statuses=[], reports=REPORTS[1:2], plans=0)
    result = episode_result(task="t", attempt=1, instruction="i", outcome=outcome, heard=heard)
    assert result.camera_to_servo is None
    assert (result.plan_rate_hz, result.message_rate_hz, result.command_rate_hz) == (0.0, 0.0, 0.0)
