"""The trial of a bundle in a process of its own: what ends that process is refused, and so is what is too slow or too large."""

import sys
from pathlib import Path

import pytest

from mola_core.contracts.bundle import BundleError
from mola_core.runtime.probe import ProbeReport, probe_bundle, require_memory, require_speed


def probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, *, timeout_s: float = 20.0) -> ProbeReport:
    """As if the interpreter did what ``script`` says."""
    fake = tmp_path / "python"
    fake.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    return probe_bundle(site=tmp_path, root=tmp_path, bundle_id="new/1", timeout_s=timeout_s)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("kill -SEGV $$", r"crashed while it was tried \(signal 11\): it said nothing"),
        ("echo no memory >&2; exit 3", r"crashed while it was tried \(exit code 3\): no memory"),
        ("exec sleep 10", "not loaded and tested within 1 s"),
        ("""echo '{"problem": "video is not what it was"}'""", "video is not what it was"),
        ("true", "instead of a report its process said: nothing"),
        ("echo good morning", "instead of a report its process said: good morning"),
    ],
)
def test_whatever_becomes_of_the_trial_is_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    with pytest.raises(BundleError, match=reason):
        probe(tmp_path, monkeypatch, script, timeout_s=1.0 if "sleep" in script else 20.0)


def test_a_sound_bundle_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = """echo loading; echo '{"problem": "", "peak_bytes": 5, "run_ms": 7.5}'"""
    assert probe(tmp_path, monkeypatch, script) == ProbeReport("", peak_bytes=5, run_ms=7.5)


def test_what_is_too_slow_or_too_large_is_refused_with_the_figures() -> None:
    report = ProbeReport("", peak_bytes=1 << 60, run_ms=700.0)
    with pytest.raises(BundleError, match="new/1 takes 700 ms for a decision on this machine, more than 400 ms"):
        require_speed(report, bundle_id="new/1", late_ms=400.0)
    require_speed(report, bundle_id="new/1", late_ms=800.0)
    with pytest.raises(BundleError, match="new/1 needs"):
        require_memory(report, bundle_id="new/1", reserve_bytes=0)
