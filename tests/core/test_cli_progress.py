"""What a long command says of itself on the way."""

import io

from mola_core.cli.progress import Progress
from mola_core.contracts.clock import NS_PER_S, FakeClock


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_time_left_counts_this_run_only() -> None:
    clock = FakeClock(start_ns=0)
    bar = Progress("episodes", total=100, done=40, stream=io.StringIO(), clock=clock)
    assert bar.left_s() is None
    clock.advance(20 * NS_PER_S)
    bar.advance(10)
    assert bar.left_s() == 100.0
    assert bar.line(note="ok") == "episodes: 50/100, 1 min 40 s left, ok"


def test_logs_get_a_line_now_and_then() -> None:
    clock, stream = FakeClock(start_ns=0), io.StringIO()
    bar = Progress("rows", total=1000, stream=stream, clock=clock)
    for _ in range(1000):
        clock.advance(NS_PER_S // 10)
        bar.advance()
    lines = stream.getvalue().splitlines()
    assert 6 <= len(lines) <= 9, "a hundred seconds"
    assert lines[-1] == "rows: 1000/1000"


def test_terminals_rewrite_one_line() -> None:
    clock, stream = FakeClock(start_ns=0), Terminal()
    bar = Progress("rows", total=2, stream=stream, clock=clock)
    for _ in range(2):
        clock.advance(NS_PER_S)
        bar.advance()
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().startswith("\r\x1b[2Krows: 1/2, 1 s left")
