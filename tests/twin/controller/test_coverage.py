"""The table of commands against the client's own list, and what it prints."""

import json
import struct
from argparse import ArgumentParser

import pytest

from mola_twin.command import register
from mola_twin.controller.commands import COMMANDS
from mola_twin.controller.robot import Robot
from mola_twin.controller.rtde_codec import STRUCT_CODES
from mola_twin.controller.rtde_inputs import INPUTS
from mola_twin.controller.rtde_outputs import OUTPUTS, View

SCRIPT_COMMANDS = {*range(1, 5), *range(6, 10), *range(10, 13), *range(15, 22), *range(24, 32), *range(33, 48)} | {
    *range(51, 72)
}
"""Numbers that the client sends to its script; 5, 13, 14, 22, 23, 32 and 48-50 never reach it."""


def test_every_command_of_the_client_has_a_row() -> None:
    assert set(COMMANDS) == SCRIPT_COMMANDS
    assert all(command.run is not None or command.note for command in COMMANDS.values()), "a refusal gives its reason"


def test_streamed_commands_are_those_of_the_script_s_main_loop() -> None:
    streamed = {number for number, command in COMMANDS.items() if command.every_cycle}
    assert streamed == {6, 9, 10, 11, 24, 25, 26, 27, 38, 58, 66, 67, 68, 69, 70, 71}


def test_every_output_packs_as_its_type_says() -> None:
    view = View(Robot())
    for name, (kind, read) in OUTPUTS.items():
        assert struct.pack(">" + STRUCT_CODES[kind], *read(view)), name
    assert set(INPUTS.values()) <= set(STRUCT_CODES)


def test_the_command_prints_the_table_and_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    parser = ArgumentParser()
    register(parser.add_subparsers())
    arguments = parser.parse_args(["twin", "commands", "--json"])
    assert arguments.run(arguments) == 0
    document = json.loads(capsys.readouterr().out)
    assert {row["number"] for row in document["commands"]} == set(COMMANDS)
    arguments = parser.parse_args(["twin", "commands"])
    assert arguments.run(arguments) == 0
    assert "SERVOJ" in capsys.readouterr().out
