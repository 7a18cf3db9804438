"""Which processes belong to a bench, what they use, and what those that hold engines hold."""

import os
from pathlib import Path

import pytest

from mola_core.contracts.errors import MolaError
from mola_nodes.bench.memory import SHARED, MemorySample, resident_span, sample_memory, spans_of
from mola_nodes.bench.processes import Process, load_percent, own_processes

PAGES_A_MIB = (1 << 20) // os.sysconf("SC_PAGE_SIZE")


def write_process(proc: Path, pid: int, *, parent: int, words: tuple[str, ...], ticks: int = 0, mib: int = 1) -> None:
    folder = proc / str(pid)
    folder.mkdir(parents=True)
    fields = ["S", str(parent), *["0"] * 9, str(ticks), "0", *["0"] * 30]
    (folder / "stat").write_text(f"{pid} (a name) with) {' '.join(fields)}", encoding="ascii")
    (folder / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in words))
    (folder / "statm").write_text(f"99999 {mib * PAGES_A_MIB} 0 0 0 0 0", encoding="ascii")


def test_only_what_descends_from_the_bench_belongs_to_it(tmp_path: Path) -> None:
    write_process(tmp_path, 10, parent=1, words=("mola", "bench"))
    write_process(tmp_path, 20, parent=10, words=("sentinel",))
    write_process(tmp_path, 21, parent=20, words=("python", "/lib/policy_node", "--ros-args"), ticks=50, mib=300)
    write_process(tmp_path, 30, parent=1, words=("python", "/lib/policy_node"), mib=700)  # of another graph
    (tmp_path / "40").mkdir()  # has just ended
    mine = own_processes(root=10, proc=tmp_path)
    assert [process.pid for process in mine] == [10, 20, 21]
    assert mine[-1].processor_s == 50 / os.sysconf("SC_CLK_TCK")
    assert mine[-1].resident_mib == 300
    assert sample_memory(3, processes=mine).resident_mib == {"policy_node": 300.0}


def test_this_process_is_its_own() -> None:
    mine = {process.pid: process for process in own_processes()}
    assert mine[os.getpid()].resident_mib > 1.0


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("python", "/bin/policy_node", "--ros-args", "-r", "__node:=policy"), "policy"),
        (("python", "-m", "mola_nodes.servo_process"), "mola_nodes.servo_process"),
        (("python", "/bin/mola_process"), "mola_process"),
        (("/usr/bin/cell",), "cell"),
        (("",), ""),
    ],
)
def test_a_process_is_called_as_a_person_calls_it(words: tuple[str, ...], name: str) -> None:
    assert Process(1, words, 0.0, 1.0).name == name


def test_load_is_of_one_core_by_name_and_counts_newcomers() -> None:
    before = [Process(1, ("cell",), 5.0, 1.0), Process(2, ("policy",), 1.0, 1.0)]
    after = [
        Process(1, ("cell",), 6.0, 1.0),
        Process(2, ("policy",), 3.0, 1.0),
        Process(3, ("policy",), 1.0, 1.0),
    ]
    assert list(load_percent(before, after, seconds=10.0).items()) == [("policy", 30.0), ("cell", 10.0)]


def test_memory_is_told_first_last_and_largest_by_program_and_together() -> None:
    samples = [
        MemorySample(0, {"imagination_node": 300.0, "policy_node": 200.0}, shared_mib=20.0),
        MemorySample(10, {"imagination_node": 380.0, "policy_node": 260.0}, shared_mib=24.0),
        MemorySample(20, {"imagination_node": 320.0, "policy_node": 210.0}, shared_mib=22.0),
    ]
    told = {span.what: (span.first_mib, span.last_mib, span.max_mib) for span in spans_of(samples)}
    assert told == {
        "imagination_node": (300.0, 320.0, 380.0),
        "policy_node": (200.0, 210.0, 260.0),
        str(SHARED): (20.0, 22.0, 24.0),
    }
    assert (resident_span(samples).max_mib, resident_span(samples).growth_mib) == (640.0, 30.0)


def test_a_graph_without_engines_cannot_be_sampled() -> None:
    with pytest.raises(MolaError, match="none of imagination_node, policy_node, mola_process runs"):
        sample_memory(0, processes=[Process(1, ("python", "camera_node"), 0.0, 50.0)])
