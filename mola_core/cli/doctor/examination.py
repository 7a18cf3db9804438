"""Runs all checks and prints what they found."""

from collections.abc import Iterable, Sequence
from importlib.metadata import entry_points
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mola_core.cli.doctor import machine, network, software
from mola_core.cli.doctor.finding import Check, Context, Finding, Verdict, missing
from mola_core.cli.report import measurement_report, print_json
from mola_core.contracts.site import load_site

GROUP = "mola.doctor"

CHECKS: Sequence[Check] = (
    software.python,
    software.setup,
    software.ros,
    software.rendering,
    software.cameras,
    software.usb_permissions,
    software.gpu,
    machine.shared_memory,
    machine.real_time,
    machine.governor,
    machine.clock,
    network.discovery,
    network.twin_ports,
    network.arm,
)

_WIDTH_IN_FILES = 120
_STYLES = {Verdict.OK: "green", Verdict.NOTE: "yellow", Verdict.MISSING: "bold red"}


def examine(*, site_path: Path | None, as_json: bool) -> int:
    """Print the findings; 1 where the twin lacks something, or with a site file the rig.

    Raises:
        ConfigError: the site file is not usable.
    """
    context = Context(site=load_site(site_path) if site_path else None)
    findings = [finding for check in _all_checks() for finding in findings_of(check, context)]
    if as_json:
        print_json(measurement_report("doctor", {"findings": findings, "ready": not blocking(findings, context)}))
    else:
        _print_table(findings)
        print(_conclusion(findings, context))
    return 1 if blocking(findings, context) else 0


def findings_of(check: Check, context: Context) -> Sequence[Finding]:
    """What ``check`` says; a check that fails is itself a finding."""
    try:
        return check(context)
    except Exception as error:  # noqa: BLE001  # one broken check must not hide the others
        name = getattr(check, "__name__", str(check)).replace("_", " ")
        return [missing(name, f"the check itself failed: {type(error).__name__}: {error}", "report this", twin=False)]


def blocking(findings: Iterable[Finding], context: Context) -> list[Finding]:
    """What must be cured before the twin, or with a site the rig, can run."""
    absent = [finding for finding in findings if finding.verdict is Verdict.MISSING]
    return absent if context.site else [finding for finding in absent if finding.twin]


def _all_checks() -> list[Check]:
    registered = sorted(entry_points(group=GROUP), key=lambda entry: entry.name)
    return [*CHECKS, *(entry.load() for entry in registered)]


def _print_table(findings: Iterable[Finding]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    for finding in findings:
        cure = f"\n→ {finding.cure}" if finding.cure else ""
        verdict = Text(finding.verdict.value, style=_STYLES[finding.verdict])
        table.add_row(verdict, Text(finding.name), Text(finding.found + cure))
    console = Console(highlight=False)
    console.print(table, width=None if console.is_terminal else _WIDTH_IN_FILES)


def _conclusion(findings: Iterable[Finding], context: Context) -> str:
    blockers = blocking(findings, context)
    subject = f"site {context.site.name}" if context.site else "the twin"
    if not blockers:
        return f"\nReady for {subject}."
    return f"\nNot ready for {subject}: {', '.join(finding.name for finding in blockers)}."
