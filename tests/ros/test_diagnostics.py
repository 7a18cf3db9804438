"""What dashboards are told of a half of the policy."""

from mola_core.runtime.slot import SlotReport
from mola_nodes.diagnostics import OK, WARN, half_diagnostic
from mola_nodes.policy.tally import RunFigures


def test_a_bundle_that_could_not_be_closed_is_a_warning_with_its_cure() -> None:
    well = SlotReport(revision=3, serving="old/1", ready=("old/1",))
    assert half_diagnostic("actor", well, RunFigures()).level == OK
    leaking = SlotReport(revision=3, serving="old/1", ready=("old/1",), leaked=("new/1",))
    status = half_diagnostic("actor", leaking, RunFigures())
    assert status.level == WARN
    assert status.message == "new/1 could not be closed: restart this process to have its memory back"
    assert {value.key: value.value for value in status.values}["not closed"] == "1"
