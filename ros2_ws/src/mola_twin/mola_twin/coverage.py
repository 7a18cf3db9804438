"""What of a UR controller the twin covers, read off the tables that serve it."""

from typing import Any

from rich.console import Console
from rich.table import Table

from mola_twin.controller.commands import COMMANDS
from mola_twin.controller.dashboard import DASHBOARD_COMMANDS
from mola_twin.controller.faults import FAULTS
from mola_twin.controller.rtde_inputs import INPUTS
from mola_twin.controller.rtde_outputs import NOT_MODELLED, OUTPUTS


def coverage() -> dict[str, Any]:
    """The whole coverage as one document."""
    return {
        "commands": [
            {
                "number": command.number,
                "name": command.name,
                "call": command.call,
                "served": command.run is not None,
                "note": command.note,
            }
            for command in COMMANDS.values()
        ],
        "rtde_outputs": {
            name: {"type": kind, "modelled": name not in NOT_MODELLED} for name, (kind, _) in OUTPUTS.items()
        },
        "rtde_inputs": INPUTS,
        "dashboard": sorted(DASHBOARD_COMMANDS),
        "faults": {name: help_text for name, (_, help_text) in FAULTS.items()},
    }


def print_coverage() -> None:
    """The same for people."""
    console = Console()
    table = Table(title="ur_rtde 1.6.5 control commands")
    for heading in ("id", "command", "call", "served", "note"):
        table.add_column(heading, justify="right" if heading == "id" else "left")
    for command in COMMANDS.values():
        served = "yes" if command.run is not None else "[red]no[/red]"
        table.add_row(str(command.number), command.name, command.call, served, command.note)
    console.print(table)
    num_served = sum(command.run is not None for command in COMMANDS.values())
    console.print(f"{num_served} of {len(COMMANDS)} served; the others stop the program with a popup and a warning.")
    console.print(f"\nRTDE outputs: {len(OUTPUTS)}, constant because not modelled: {', '.join(NOT_MODELLED)}")
    console.print(f"\nDashboard: {', '.join(sorted(DASHBOARD_COMMANDS))}")
    console.print("\nFaults (JSON lines on port 30152):")
    for name, (_, help_text) in FAULTS.items():
        console.print(f"  {name:<16} {help_text}")
