"""``mola bench swap``: what must hold, what is told, and that every swap loads a bundle that was not in memory."""

import argparse
import io
from types import SimpleNamespace
from typing import Any

import pytest
from phase_figures import phase
from rich.console import Console

from mola_core.contracts.errors import ConfigError, MolaError
from mola_nodes.bench import memory, phases, swap
from mola_nodes.bench.memory import SHARED, MemorySample
from mola_nodes.bench.phases import Answer
from mola_nodes.bench.swap import takeover_of
from mola_nodes.bench.swap_figures import Swap, SwapFigures, Tolerances, print_swaps, verdicts_of

OLD, NEW = "twin/7", "twin/8"
TOLERANCES = Tolerances(late_points=2.0, memory_mib=64.0)


def samples(*resident_mib: float) -> list[MemorySample]:
    return [MemorySample(10 * n, {"policy_node": value}, shared_mib=20.0) for n, value in enumerate(resident_mib)]


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    swap.register(parser.add_subparsers())
    return parser.parse_args(["swap", OLD, NEW, *words])


@pytest.mark.parametrize(
    ("during", "resident_mib", "missed"),
    [
        ({"miss_percent": 3.6}, (500.0, 700.0, 564.0), []),
        ({"miss_percent": 3.7}, (500.0, 500.0), ["late servo ticks"]),
        ({"miss_percent": 0.0, "stops": 3}, (500.0, 100.0), []),
        ({"late_stops": 1}, (500.0, 500.0), ["stops: the graph was too slow"]),
        ({"refused": 1}, (500.0, 500.0), ["chunks refused"]),
        ({}, (500.0, 565.0), ["memory back where it was"]),
    ],
)
def test_the_phase_with_swaps_is_held_against_the_one_without(
    during: dict[str, Any], resident_mib: tuple[float, ...], missed: list[str]
) -> None:
    verdicts = verdicts_of(phase(miss_percent=1.6), phase(**during), samples(*resident_mib), TOLERANCES)
    assert [verdict.what for verdict in verdicts if not verdict.passed] == missed


def figures(*, miss_percent: float) -> SwapFigures:
    without, during, held = phase(), phase(miss_percent=miss_percent), samples(500.0, 640.0, 510.0)
    return SwapFigures(
        without=without,
        during=during,
        swaps=(Swap(4000.0, 290.0, 6.0), Swap(5000.0, 420.0, 48.0), Swap(4500.0, 300.0, 8.0)),
        memory=tuple(held),
        verdicts=verdicts_of(without, during, held, TOLERANCES),
        endings=("the arm is stopped [it hit something]",),
    )


def printed(found: SwapFigures) -> list[str]:
    out = io.StringIO()
    print_swaps(found, console=Console(file=out, width=80, highlight=False))
    return out.getvalue().splitlines()


def test_the_tables_say_clearly_what_passed_and_what_was_missed() -> None:
    lines = printed(figures(miss_percent=5.0))
    assert lines[-1] == "missed"
    assert "a run ended, and another began: the arm is stopped [it hit something]" in lines
    rows = [" ".join(line.replace("│", " ").split()) for line in lines]
    assert "late servo ticks missed 5.0 % with, 1.6 % without; +2 allowed" in rows
    assert "memory back where it was passed 510 MiB last, 500 first; +64 allowed" in rows
    assert "chunks refused passed 0; none allowed" in rows
    assert "policy_node 500 510 640" in rows
    assert f"{SHARED} 20 20 20" in rows
    assert "gap beyond the usual interval between answers 8 48" in rows
    assert "request to loaded (tried, loaded, rehearsed) 4500 5000" in rows
    assert max(map(len, [line for line in lines if line[:1] in "┏┃┡│└"])) <= 80
    assert printed(figures(miss_percent=1.0))[-1] == "passed"


@pytest.mark.parametrize(("miss_percent", "code"), [(1.0, 0), (5.0, 1)])
@pytest.mark.parametrize("words", [[], ["--json"]])
def test_late_ticks_count_in_the_exit_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    miss_percent: float,
    code: int,
    words: list[str],
) -> None:
    monkeypatch.setattr(swap, "measure", lambda _args: figures(miss_percent=miss_percent))
    assert swap.run(parsed(*words)) == code
    out = capsys.readouterr().out
    assert ('"passed": true' in out.splitlines()[-3] if words else out.endswith("passed\n")) == (code == 0)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--count", "0"], "--count 0 must be 1..10000"),
        (["--seconds", "0.5"], "--seconds 0.5 1..3600"),
        (["--late-tolerance", "-1"], "--late-tolerance -1 and --memory-tolerance 64 must not be negative"),
        (["--memory-tolerance", "nan"], "--late-tolerance 2 and --memory-tolerance nan must not be negative"),
    ],
)
def test_arguments_that_measure_nothing_are_refused(words: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        swap.run(parsed(*words))


def test_a_bundle_cannot_take_over_from_itself() -> None:
    arguments = parsed()
    arguments.bundles = [OLD, OLD]
    with pytest.raises(ConfigError, match=f"{OLD} cannot take over from itself"):
        swap.run(arguments)


def heard(*entries: tuple[float, str, int]) -> list[Answer]:
    return [Answer(*entry) for entry in entries]


def test_the_takeover_is_measured_at_the_last_change_over() -> None:
    answers = heard((0.0, NEW, 1), (0.1, OLD, 1), (1.0, OLD, 1), (1.12, NEW, 1), (1.2, NEW, 1))
    assert takeover_of(answers, NEW, asked_s=0.8) == (pytest.approx(320.0), pytest.approx(120.0))


def test_a_run_that_ended_in_between_leaves_no_gap_to_measure() -> None:
    assert takeover_of(heard((1.0, OLD, 1), (9.0, NEW, 2), (9.1, NEW, 2)), NEW, asked_s=0.9) is None


class FakeGraph:
    """A policy, and a bundle manager behind its client's interface, that remember which bundles are in memory."""

    def __init__(self, *, ends_in_swap: int = 0, takes_out: str = "") -> None:
        """The run ends by itself during the swap of this number; the bundle ``takes_out`` is rolled back once it serves."""
        self.loaded = {OLD}
        self.status = SimpleNamespace(active_bundle=OLD, reason="")
        self.loads: list[tuple[str, frozenset[str]]] = []
        self.endings: list[str] = []
        self.goal = SimpleNamespace(done=False)
        self.answers = heard((0.0, OLD, 1), (0.1, OLD, 1))
        self._run = 1
        self._ends_in_swap, self._takes_out = ends_in_swap, takes_out

    def ensure(self) -> None:
        if self.goal.done:
            self.endings.append("it hit something")
            self.goal.done, self._run = False, self._run + 1
            self._answer()

    def act(self, seconds: float) -> None:
        assert seconds > 0
        self._answer()

    def load(self, bundle_id: str) -> None:
        self.loads.append((bundle_id, frozenset(self.loaded)))
        self.loaded.add(bundle_id)

    def promote(self, bundle_id: str) -> None:
        assert bundle_id in self.loaded
        if len(self.loads) == self._ends_in_swap:
            self.goal.done = True
            self.status.active_bundle = bundle_id
            return
        self.status.active_bundle = bundle_id
        self._answer()
        if bundle_id == self._takes_out:
            self.status = SimpleNamespace(active_bundle=OLD, reason="late")

    def unload(self) -> None:
        self.loaded = {self.status.active_bundle}

    def _answer(self) -> None:
        self.answers.append(Answer(self.answers[-1].heard_s + 0.1, self.status.active_bundle, self._run))


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(phases, "mark", lambda _operator, _watch: None)
    monkeypatch.setattr(phases, "phase_since", lambda *_: phase())
    monkeypatch.setattr(memory, "sample_memory", lambda swaps: MemorySample(swaps, {"policy_node": 500.0}, 20.0))

    def measure(graph: Any, count: int) -> SwapFigures:
        args = parsed("--count", str(count))
        return swap._phases(args, operator=graph, client=graph, watch=graph, kept=graph)

    return measure


def test_every_swap_loads_what_is_not_in_memory_and_memory_is_looked_at_every_ten(measured: Any) -> None:
    graph = FakeGraph()
    found = measured(graph, 25)
    assert len(found.swaps) == 25
    assert [bundle for bundle, _ in graph.loads] == [NEW, OLD] * 12 + [NEW]
    assert all(bundle not in loaded for bundle, loaded in graph.loads)
    assert [sample.swaps for sample in found.memory] == [0, 10, 20, 25]
    assert found.passed


def test_a_swap_cut_short_by_the_end_of_a_run_counts_for_nothing(measured: Any) -> None:
    graph = FakeGraph(ends_in_swap=2)
    found = measured(graph, 3)
    assert len(found.swaps) == 3
    assert len(graph.loads) == 4
    assert found.endings == ("it hit something",)


def test_a_bundle_that_does_not_stay_ends_the_bench(measured: Any) -> None:
    with pytest.raises(MolaError, match=f"{NEW} did not stay, {OLD} serves: late"):
        measured(FakeGraph(takes_out=NEW), 3)
