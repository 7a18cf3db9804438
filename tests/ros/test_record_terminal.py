"""The operator's screen and keys: what is shown, what a key asks for, and that a no is seen."""

import argparse
import io
import time
from typing import Any

import pytest
from mola_interfaces.msg import EpisodeStatus, LatencyHop, LatencyReport, ServoStatus, StreamStatus, TeleopStatus
from mola_interfaces.srv import EpisodeControl
from rich.console import Console

from mola_core.contracts.errors import ConfigError, MolaError
from mola_nodes import graph
from mola_nodes.record import command
from mola_nodes.record.keyboard import Keyboard
from mola_nodes.record.screen import Picture, render
from mola_nodes.record.terminal import Terminal

CAMERA = graph.camera_topics("wrist").color.name


def a_status(**changes: Any) -> EpisodeStatus:
    fields: dict[str, Any] = {
        "version": 1,
        "state": EpisodeStatus.RECORDING,
        "episode_id": "20261126-120000-00aa",
        "instruction": "stack the blocks",
        "operator_name": "ada",
        "messages": 5214,
        "size_bytes": 412_000_000,
        "episodes_kept": 3,
        "episodes_dropped": 1,
        "last_episode_id": "20261126-115900-00ff",
        "last_outcome": "success",
        "disk_free_bytes": 75_400_000_000,
        "disk_minutes_left": 41.0,
        "streams": [StreamStatus(topic=CAMERA, rate_hz=30.1, expected_hz=30.0, latency_ms=12.0)],
    }
    message = EpisodeStatus(**{**fields, **changes})
    message.length.sec, message.length.nanosec = 83, 400_000_000
    return message


def shown(status: EpisodeStatus | None, **changes: Any) -> str:
    fields: dict[str, Any] = {
        "servo": ServoStatus(state=ServoStatus.EXECUTING, source="teleop/spacemouse"),
        "latency": LatencyReport(hops=[LatencyHop(name="camera to servo", count=9, p50_ms=51.0, p99_ms=70.0)]),
        "teleop": TeleopStatus(device="spacemouse", alive=True, enabled=True, engaged=True, takeover=True),
    }
    picture = Picture(
        status=status,
        status_age_s=changes.pop("age_s", 0.1),
        store="/data",
        said=changes.pop("said", ""),
        refused=False,
        busy=False,
        **{**fields, **changes},
    )
    console = Console(file=io.StringIO(), width=110, height=40)
    console.print(render(picture))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_screen_says_all_that_matters() -> None:
    text = shown(a_status(dropped=2))
    for said in (
        *("RECORDING", "episode 4", "1:23.4", "412 MB", "5214 messages", "2 lost", "“stack the blocks”", "by ada"),
        *(
            "wrist/color",
            "30.1",
            "12",
            "moving by teleop/spacemouse",
            "spacemouse engaged (takeover)",
            "p50 51  p99 70 ms",
        ),
        *("75.4 GB free, about 41 min", "/data", "3 kept, 1 dropped", "last success 20261126-115900-00ff"),
        *("stop", "success", "failure", "drop", "instruction", "quit"),
    ):
        assert said in text, said


def test_what_comes_with_each_picture_is_shown_when_it_does_not() -> None:
    topic = graph.camera_topics("wrist").color_metadata.name
    well = StreamStatus(topic=topic, rate_hz=30.0, expected_hz=30.0)
    assert "metadata" not in shown(a_status(streams=[well]))
    ill = StreamStatus(topic=topic, rate_hz=3.0, expected_hz=30.0, problem="comes at 3.0 Hz instead of 30")
    assert "wrist/color/metadata" in shown(a_status(streams=[ill]))


def test_the_screen_says_why_it_cannot_record() -> None:
    reasons = [
        f"{CAMERA} comes at 15.0 Hz instead of 30",
        "0.4 GB of disk are left where 5.0 are wanted",
        "c",
        "d",
        "e",
        "f",
    ]
    text = shown(a_status(state=EpisodeStatus.BLOCKED, reason="; ".join(reasons)))
    for said in ("CANNOT RECORD", "! wrist/color comes at 15.0 Hz instead of 30", "! 0.4 GB of disk", "and 2 more"):
        assert said in text, said


@pytest.mark.parametrize(
    ("state", "said"),
    [(EpisodeStatus.IDLE, "READY"), (EpisodeStatus.REVIEW, "HOW WAS IT?")],
)
def test_every_state_has_a_name(state: int, said: str) -> None:
    assert said in shown(a_status(state=state))


def test_a_silent_recorder_is_not_shown_as_if_it_spoke() -> None:
    assert "the recorder is not there yet" in shown(None)
    text = shown(a_status(), age_s=7.0)
    assert "the recorder has said nothing for 7 s" in text
    assert "RECORDING" not in text


def test_without_an_instruction_the_key_for_it_is_named() -> None:
    assert "press i" in shown(a_status(state=EpisodeStatus.IDLE, instruction=""))


class FakeOperator:
    """Answers as the recorder does."""

    def __init__(self) -> None:
        self.servo_status = None
        self.servo_statuses: list[Any] = []
        self.latency_reports: list[Any] = []
        self.callbacks: dict[str, Any] = {}
        self.requests: list[EpisodeControl.Request] = []
        self.refusal = ""

    def subscribe(self, topic: graph.Topic, callback: Any) -> None:
        self.callbacks[topic.name] = callback

    def call(self, service: graph.Service, request: Any, *, timeout_s: float) -> EpisodeControl.Response:
        assert service == graph.EPISODE_CONTROL
        self.requests.append(request)
        return EpisodeControl.Response(success=not self.refusal, message=self.refusal or "done")

    def resume(self) -> None:
        raise MolaError("the arm does not engage")


@pytest.fixture
def operator() -> FakeOperator:
    return FakeOperator()


@pytest.fixture
def terminal(operator: FakeOperator) -> Terminal:
    return Terminal(operator, store="", instruction="stack the blocks", operator_name="ada")  # type: ignore[arg-type]


def answered(terminal: Terminal) -> Picture:
    for _ in range(500):
        picture = terminal.picture()
        if not picture.busy:
            return picture
        time.sleep(0.01)
    pytest.fail("no answer")


@pytest.mark.parametrize(
    ("key", "state", "command", "outcome"),
    [
        (" ", EpisodeStatus.IDLE, EpisodeControl.Request.START, 0),
        (" ", EpisodeStatus.RECORDING, EpisodeControl.Request.STOP, 0),
        ("s", EpisodeStatus.RECORDING, EpisodeControl.Request.KEEP, EpisodeControl.Request.SUCCESS),
        ("f", EpisodeStatus.REVIEW, EpisodeControl.Request.KEEP, EpisodeControl.Request.FAILURE),
        ("d", EpisodeStatus.IDLE, EpisodeControl.Request.DROP, 0),
    ],
)
def test_a_key_is_a_request(
    terminal: Terminal, operator: FakeOperator, key: str, state: int, command: int, outcome: int
) -> None:
    operator.callbacks[graph.EPISODE_STATUS.name](a_status(state=state))
    assert terminal.press(key)
    assert answered(terminal).said == "done"
    (request,) = operator.requests
    assert (request.command, request.outcome) == (command, outcome)
    if command == EpisodeControl.Request.START:
        assert (request.instruction, request.operator_name) == ("stack the blocks", "ada")


def test_a_refusal_is_shown(terminal: Terminal, operator: FakeOperator) -> None:
    operator.refusal = "cannot start: no disk"
    terminal.press(" ")
    picture = answered(terminal)
    assert (picture.said, picture.refused) == ("cannot start: no disk", True)
    terminal.press("a")
    assert answered(terminal).said == "the arm does not engage"


def test_quitting_in_the_middle_asks_once_more(terminal: Terminal, operator: FakeOperator) -> None:
    operator.callbacks[graph.EPISODE_STATUS.name](a_status())
    assert terminal.press("q")
    assert "q once more leaves" in terminal.picture().said
    assert not terminal.press("q")
    operator.callbacks[graph.EPISODE_STATUS.name](a_status(state=EpisodeStatus.IDLE))
    assert not terminal.press("q")


def test_the_next_instruction_is_shown_and_sent(terminal: Terminal, operator: FakeOperator) -> None:
    operator.callbacks[graph.EPISODE_STATUS.name](a_status(state=EpisodeStatus.IDLE))
    terminal.set_instruction("press the button")
    status = terminal.picture().status
    assert status is not None
    assert status.instruction == "press the button"
    terminal.press(" ")
    answered(terminal)
    assert operator.requests[0].instruction == "press the button"


def test_without_a_terminal_the_other_ways_are_named() -> None:
    with pytest.raises(ConfigError, match="/mola/episode_control or send words to the topic /mola/episode_key"):
        Keyboard().__enter__()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--up", "rig"], "--up rig needs --site"),
        (["--up", "rig", "--site", "x", "--policy", "scripted"], "in the twin only"),
    ],
)
def test_a_rig_has_no_defaults(words: list[str], said: str) -> None:
    parser = argparse.ArgumentParser()
    command.register(parser.add_subparsers())
    with pytest.raises(ConfigError, match=said):
        command.launch_arguments(parser.parse_args(["record", *words]))
