"""What a bundle has loaded is freed when something after it fails."""

from pathlib import Path
from typing import Any

import pytest

from mola_core.contracts.bundle import BundleError
from mola_core.runtime import bundle_policy
from mola_core.runtime.bundle_policy import OpenOptions, open_actor, open_bundle, open_bundle_policy, open_imagination
from mola_core.runtime.engines.loading import EngineSource, load_engine
from mola_core.runtime.engines.protocol import Engine, EngineError

STAGES = ("encoder", "video", "preview", "actor")


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Engines in the order in which they are loaded from here on."""
    engines: list[Engine] = []

    def load(runtime: str, source: EngineSource) -> Engine:
        engines.append(load_engine(runtime, source))
        return engines[-1]

    monkeypatch.setattr(bundle_policy, "load_engine", load)
    return engines


def is_closed(engine: Any) -> bool:
    return engine.session is None


def opened(bundle: Path) -> Any:
    return open_bundle_policy(bundle, OpenOptions(threads=1, verify=False))


@pytest.mark.parametrize("stage", STAGES)
def test_an_engine_that_does_not_get_warm_takes_all_with_it(bundle, loaded, monkeypatch, stage) -> None:
    from mola_core.runtime.engines.onnxruntime import OnnxRuntimeCpu  # noqa: PLC0415

    warm = OnnxRuntimeCpu.warm

    def failing(self: OnnxRuntimeCpu) -> None:
        if self.name == stage:
            raise EngineError("the card is full")
        warm(self)

    monkeypatch.setattr(OnnxRuntimeCpu, "warm", failing)
    with pytest.raises(EngineError, match="the card is full"):
        opened(bundle)
    assert [engine.name for engine in loaded] == list(STAGES[: STAGES.index(stage) + 1])
    assert all(is_closed(engine) for engine in loaded)


@pytest.mark.parametrize("stage", STAGES)
def test_an_engine_that_fails_its_self_test_takes_all_with_it(bundle, loaded, monkeypatch, stage) -> None:
    def refuse(_record: Any, *, precision: str, what: str) -> None:
        if what.startswith(stage):
            raise BundleError(f"{what} fails its self-test")

    monkeypatch.setattr(bundle_policy, "require_parity", refuse)
    with pytest.raises(BundleError, match=f"{stage} of bundle micro/1 .* fails its self-test"):
        opened(bundle)
    assert all(is_closed(engine) for engine in loaded)


@pytest.mark.parametrize(("half", "open_half"), [("EngineImagination", open_imagination), ("EngineActor", open_actor)])
def test_a_half_that_cannot_be_made_frees_its_engines(bundle, loaded, monkeypatch, half, open_half) -> None:
    def refuse(*_args: Any, **_parts: Any) -> None:
        raise EngineError("engine video has no input 'video_noise'")

    monkeypatch.setattr(bundle_policy, half, refuse)
    with pytest.raises(EngineError, match="no input"):
        open_half(open_bundle(bundle))
    assert loaded
    assert all(is_closed(engine) for engine in loaded)


def test_a_bundle_that_opens_is_not_closed(bundle, loaded) -> None:
    with opened(bundle):
        assert not any(is_closed(engine) for engine in loaded)
    assert all(is_closed(engine) for engine in loaded)
