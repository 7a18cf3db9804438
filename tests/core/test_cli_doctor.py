"""The doctor names what is missing, and its exit status says whether it matters."""

import json
import socket
from pathlib import Path

import pytest

from mola_core.cli.doctor import examination, machine, network, probing, software
from mola_core.cli.doctor.finding import Context, Verdict, missing, note, ok
from mola_core.contracts.site import load_site

TWIN_SITE = Path(__file__).resolve().parents[2] / "launch" / "sites" / "twin.yaml"


@pytest.fixture
def checks(monkeypatch):
    """Replaces all checks by those appended to the list."""
    chosen = []
    monkeypatch.setattr(examination, "_all_checks", lambda: chosen)
    return chosen


def test_notes_do_not_keep_the_twin_from_running(checks, capsys):
    checks.append(lambda _: [ok("Python", "3.11"), note("GPU", "none")])
    assert examination.examine(site_path=None, as_json=False) == 0
    assert "Ready for the twin." in capsys.readouterr().out


def test_what_the_twin_lacks_fails_with_its_cure(checks, capsys):
    checks.append(lambda _: [missing("rendering", "no [EGL]", "apt-get install libegl1")])
    assert examination.examine(site_path=None, as_json=False) == 1
    out = capsys.readouterr().out
    assert "no [EGL]" in out
    assert "→ apt-get install libegl1" in out
    assert "Not ready for the twin: rendering." in out


def test_what_only_a_rig_needs_fails_only_with_a_site(checks, capsys):
    checks.append(lambda _: [missing("camera wrist", "absent", "plug it in", twin=False)])
    assert examination.examine(site_path=None, as_json=False) == 0
    assert examination.examine(site_path=TWIN_SITE, as_json=False) == 1


def test_a_check_that_breaks_does_not_hide_the_others(checks, capsys):
    def broken(_):
        raise ZeroDivisionError("1/0")

    checks.extend([broken, lambda _: [ok("Python", "3.11")]])
    assert examination.examine(site_path=None, as_json=True) == 0
    findings = json.loads(capsys.readouterr().out)["figures"]["findings"]
    assert [finding["verdict"] for finding in findings] == ["missing", "ok"]
    assert "ZeroDivisionError" in findings[0]["found"]


def test_taken_ports_of_the_twin_are_named(monkeypatch):
    monkeypatch.setattr(network, "TWIN_HOST", "127.0.1.31")
    with socket.create_server(("127.0.1.31", 30152)):
        (finding,) = network.twin_ports(Context())
    assert finding.verdict is Verdict.NOTE
    assert "30152" in finding.found
    (finding,) = network.twin_ports(Context())
    assert finding.verdict is Verdict.OK


def test_an_arm_that_refuses_is_named_with_its_ports():
    site = load_site(TWIN_SITE)
    away = site.model_copy(update={"arm": site.arm.model_copy(update={"host": "127.0.1.32"})})
    (finding,) = network.arm(Context(site=away))
    assert finding.verdict is Verdict.NOTE
    assert "127.0.1.32:30004 (RTDE): Connection refused" in finding.found


def test_an_arm_that_accepts_is_ok():
    site = load_site(TWIN_SITE)
    there = site.model_copy(update={"arm": site.arm.model_copy(update={"host": "127.0.1.33"})})
    servers = [socket.create_server(("127.0.1.33", port)) for port in (29999, 30003, 30004)]
    try:
        (finding,) = network.arm(Context(site=there))
    finally:
        for server in servers:
            server.close()
    assert finding.verdict is Verdict.OK


def test_a_probe_that_fails_gives_its_last_line():
    answer = probing.run_probe("no_such_probe")
    assert isinstance(answer, probing.ProbeFailed)
    assert "no_such_probe" in answer.reason


@pytest.mark.parametrize(
    "check", [machine.shared_memory, machine.real_time, machine.governor, machine.clock, network.discovery]
)
def test_each_check_of_the_machine_answers(check):
    findings = check(Context())
    assert findings
    assert all(finding.found for finding in findings)
    assert all(finding.cure for finding in findings if finding.verdict is Verdict.MISSING)


@pytest.mark.parametrize("check", [software.python, software.rendering, software.cameras, software.ros])
def test_this_environment_can_run_the_twin(check):
    assert not [finding for finding in check(Context()) if finding.verdict is Verdict.MISSING]
