"""The runner of TensorRT's plans against stand-ins of its API and of a card that puts everything off.

They show that the runner waits where it must and only there, keeps what it gave and frees what it took; never that a card does what it
should.
"""

import gc

import numpy as np
import pytest
from fake_cuda import GREATEST, LEAST, FakeCuda, install
from fake_plan import FakePlan, doubling, load

from mola_core.runtime.engines.cuda_tensor import CudaTensor
from mola_core.runtime.engines.protocol import EngineError
from mola_core.runtime.tensors import RuntimeInputError, TensorSpec, finish, on_host

X = np.array([1.0, 2.0, 3.0], dtype=np.float32)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    return install(monkeypatch)


def test_a_warm_engine_is_one_graph(cuda, monkeypatch, tmp_path) -> None:
    plan = doubling(cuda)
    engine = load(monkeypatch, tmp_path, plan)
    engine.warm()
    enqueued, launches = plan.enqueued, cuda.launches
    np.testing.assert_array_equal(on_host(engine.run({"x": X})["y"]), 2 * X)
    assert (plan.enqueued, cuda.launches) == (enqueued, launches + 1)


@pytest.mark.parametrize("warm", [False, True])
def test_results_stay_as_they_are_while_the_engine_goes_on(cuda, monkeypatch, tmp_path, warm) -> None:
    engine = load(monkeypatch, tmp_path, doubling(cuda))
    if warm:
        engine.warm()
    results = [engine.run({"x": X + number})["y"] for number in range(3)]
    finish({"y": results[-1]})  # all are done, in their order
    for number, result in enumerate(results):
        np.testing.assert_array_equal(on_host(result), 2 * (X + number))


def test_host_arrays_may_be_changed_at_once(cuda, monkeypatch, tmp_path) -> None:
    engine = load(monkeypatch, tmp_path, doubling(cuda))
    x = X.copy()
    first = engine.run({"x": x})["y"]
    x += 100.0
    second = engine.run({"x": x})["y"]
    np.testing.assert_array_equal(on_host(first), 2 * X)
    np.testing.assert_array_equal(on_host(second), 2 * (X + 100.0))


def test_an_engine_reads_what_another_is_still_making_without_the_host(cuda, monkeypatch, tmp_path) -> None:
    first, second = (load(monkeypatch, tmp_path, doubling(cuda)) for _ in range(2))
    for engine in (first, second):
        engine.warm()
    results = [second.run({"x": first.run({"x": X + number})["y"]})["y"] for number in range(3)]
    assert isinstance(results[0], CudaTensor)
    finish({"y": results[-1]})
    for number, result in enumerate(results):
        np.testing.assert_array_equal(on_host(result), 4 * (X + number))


def test_the_host_waits_for_nothing_but_pinned_memory(cuda, monkeypatch, tmp_path) -> None:
    first, second = (load(monkeypatch, tmp_path, doubling(cuda)) for _ in range(2))
    waits = cuda.host_waits
    made = first.run({"x": X})["y"]
    second.run({"x": made})
    assert cuda.host_waits - waits == 2, "once a run, before pinned memory is written to"
    unread = cuda.streams[second._stream.handle]
    assert unread.num_done == 0, "nothing of it was waited for"


def test_memory_is_not_used_again_while_another_engine_still_reads_it(cuda, monkeypatch, tmp_path) -> None:
    first, second = (load(monkeypatch, tmp_path, doubling(cuda)) for _ in range(2))
    late = second.run({"x": first.run({"x": X})["y"]})["y"]  # nobody holds the first result any more
    newer = first.run({"x": X + 50.0})["y"]
    np.testing.assert_array_equal(on_host(newer), 2 * (X + 50.0))
    np.testing.assert_array_equal(on_host(late), 4 * X)


def test_memory_is_used_again_when_nobody_holds_it(cuda, monkeypatch, tmp_path) -> None:
    engine = load(monkeypatch, tmp_path, doubling(cuda))
    engine.warm()
    finish(engine.run({"x": X}))
    blocks = len(cuda.device)
    for _ in range(5):
        finish(engine.run({"x": X}))
    assert len(cuda.device) == blocks
    assert len(cuda.events) <= 2, "the engine's own, and one of a result that is still looked at"


def test_a_result_outlives_its_engine(cuda, monkeypatch, tmp_path) -> None:
    first, second = (load(monkeypatch, tmp_path, doubling(cuda)) for _ in range(2))
    kept = first.run({"x": X})["y"]
    first.close()
    np.testing.assert_array_equal(on_host(second.run({"x": kept})["y"]), 4 * X)
    second.close()
    np.testing.assert_array_equal(on_host(kept), 2 * X)
    del kept
    del first, second
    gc.collect()
    assert not cuda.left_over


def test_closing_frees_everything_and_may_be_repeated(cuda, monkeypatch, tmp_path) -> None:
    engine = load(monkeypatch, tmp_path, doubling(cuda))
    engine.warm()
    engine.warm()
    engine.close()
    engine.close()
    assert cuda.left_over == {"events": 1}, "the engine's own lives as long as the object"
    with pytest.raises(EngineError, match="x is closed"):
        engine.run({"x": X})


def test_whatever_cannot_be_had_while_loading_nothing_stays_allocated(cuda, monkeypatch, tmp_path) -> None:
    def load_and_warm() -> None:
        with load(monkeypatch, tmp_path, doubling(cuda)) as engine:
            engine.warm()

    def refused() -> str:
        try:
            load_and_warm()
        except EngineError as error:
            return str(error)
        return ""

    load_and_warm()
    needed = cuda.makings
    assert needed > 8
    for number in range(1, needed + 1):
        with cuda.failing_at(number):
            assert refused() == "CUDA: cudaErrorMemoryAllocation", number
        gc.collect()
        assert not cuda.left_over, number


def test_what_fails_while_it_is_recorded_ends_the_recording(cuda, monkeypatch, tmp_path) -> None:
    plan = doubling(cuda)
    engine = load(monkeypatch, tmp_path, plan)
    run, runs = plan.execute_async_v3, iter([True, True, False])
    monkeypatch.setattr(plan, "execute_async_v3", lambda stream: run(stream) and next(runs), raising=False)
    with pytest.raises(EngineError, match="could not enqueue"):
        engine.warm()
    assert not cuda.graphs
    monkeypatch.setattr(plan, "execute_async_v3", run)
    np.testing.assert_array_equal(on_host(engine.run({"x": X})["y"]), 2 * X)


def test_a_card_that_fails_says_so_where_the_result_is_waited_for(cuda, monkeypatch, tmp_path) -> None:
    plan = doubling(cuda)
    engine = load(monkeypatch, tmp_path, plan)
    plan.compute = lambda given: cuda.fail() or {"y": given["x"]}
    result = engine.run({"x": X})["y"]
    with pytest.raises(EngineError, match="cudaErrorIllegalAddress"):
        result.wait()
    with pytest.raises(EngineError, match="cudaErrorIllegalAddress"):
        on_host(result)
    engine.close()


@pytest.mark.parametrize(("background", "priority"), [(False, GREATEST), (True, LEAST)])
def test_what_the_arm_waits_for_comes_first_on_the_card(cuda, monkeypatch, tmp_path, background, priority) -> None:
    load(monkeypatch, tmp_path, doubling(cuda), background=background)
    assert [stream.priority for stream in cuda.streams.values()] == [priority]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"inputs": [TensorSpec("x", (-1,), "float32")]}, "which is not fixed"),
        ({"inputs": [TensorSpec("x", (3,), "FP8")]}, "x is FP8, which does not travel"),
        ({"fits": False}, "no memory left on this card to run .*x.plan"),
    ],
)
def test_plans_that_do_not_fit_are_refused(cuda, monkeypatch, tmp_path, change, said) -> None:
    plan = doubling(cuda)
    for name, value in change.items():
        setattr(plan, name, value)
    with pytest.raises(EngineError, match=said):
        load(monkeypatch, tmp_path, plan)


def test_a_plan_that_this_card_does_not_accept_is_refused(cuda, monkeypatch, tmp_path) -> None:
    with pytest.raises(EngineError, match="does not accept"):
        load(monkeypatch, tmp_path, None)


def test_a_pass_that_cannot_be_enqueued_is_an_error(cuda, monkeypatch, tmp_path) -> None:
    engine = load(monkeypatch, tmp_path, doubling(cuda, accepts=False))
    with pytest.raises(EngineError, match="could not enqueue"):
        engine.run({"x": X})


def test_results_of_another_shape_or_kind_are_refused(cuda, monkeypatch, tmp_path) -> None:
    engine = load(monkeypatch, tmp_path, doubling(cuda))
    with pytest.raises(RuntimeInputError, match="x has shape"):
        engine.run({"x": X[:2]})
    specs = [[TensorSpec(name, (3,), "int64")] for name in ("x", "y")]
    counting = load(monkeypatch, tmp_path, FakePlan(cuda, *specs, lambda given: {"y": given["x"]}))
    counted = counting.run({"x": np.arange(3)})["y"]
    with pytest.raises(RuntimeInputError, match="x is int64, expected float32"):
        engine.run({"x": counted})


def test_bindings_under_which_a_hanging_card_stops_the_process_are_refused(monkeypatch, tmp_path) -> None:
    cuda = install(monkeypatch, version="12.9.0")
    with pytest.raises(EngineError, match=r"cuda-bindings 12\.9\.0 would stop .* 'cuda-bindings>=12\.9\.1'"):
        load(monkeypatch, tmp_path, doubling(cuda))
