"""The one screen: what is drawn from what the graph says. No ROS calls, no keys."""

from dataclasses import dataclass

from mola_interfaces.msg import EpisodeStatus, LatencyReport, ServoStatus, StreamStatus, TeleopStatus
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

_STATES = {
    EpisodeStatus.IDLE: (" READY ", "bold black on green"),
    EpisodeStatus.RECORDING: (" RECORDING ", "bold white on red"),
    EpisodeStatus.REVIEW: (" HOW WAS IT? ", "bold black on yellow"),
    EpisodeStatus.BLOCKED: (" CANNOT RECORD ", "bold white on magenta"),
}
_SERVO = {
    ServoStatus.STOPPED: ("stopped", "yellow"),
    ServoStatus.HOLDING: ("holding", "green"),
    ServoStatus.EXECUTING: ("moving", "green"),
    ServoStatus.BRAKING: ("braking", "red"),
    ServoStatus.OFFLINE: ("offline", "red"),
}
_OUTCOMES = {"success": "green", "failure": "red", "unknown": "yellow"}
_STALE_S = 2.0
_MAX_REASONS = 4
_COMPANIONS = ("/metadata", "/camera_info")
"""They come with each picture; shown when they do not."""
_PREFIX = "/mola/"


@dataclass(frozen=True, slots=True)
class Picture:
    """All that the screen shows, as it was last heard."""

    status: EpisodeStatus | None
    status_age_s: float
    servo: ServoStatus | None
    latency: LatencyReport | None
    teleop: TeleopStatus | None
    store: str
    said: str
    """Answer to the last key."""
    refused: bool
    """That answer was a no."""
    busy: bool
    """A key is being answered."""


def render(picture: Picture) -> RenderableType:
    """The screen."""
    status = picture.status
    if status is None or picture.status_age_s > _STALE_S:
        silence = "is not there yet" if status is None else f"has said nothing for {picture.status_age_s:.0f} s"
        body: RenderableType = Text(f"the recorder {silence}; its log says why", style="bold red")
        return Panel(Group(body, Text(), _keys(None), _answer(picture)), title="mola record", title_align="left")
    parts: list[RenderableType] = [_headline(status), _what(status)]
    parts += [Text(f"! {reason}", style="yellow", no_wrap=True, overflow="ellipsis") for reason in _reasons(status)]
    parts += [Text(), _streams(status), Text(), _arm(picture), _disk(status, picture.store), Text(), _keys(status)]
    parts.append(_answer(picture))
    return Panel(
        Group(*parts), title="mola record", title_align="left", border_style=_STATES[status.state][1].split()[-1]
    )


def _headline(status: EpisodeStatus) -> Text:
    name, style = _STATES[status.state]
    number = status.episodes_kept + 1
    line = Text.assemble((name, style), "  ")
    if status.state in {EpisodeStatus.RECORDING, EpisodeStatus.REVIEW}:
        seconds = status.length.sec + status.length.nanosec / 1e9
        line.append(f"episode {number}  {int(seconds) // 60}:{seconds % 60:04.1f}", style="bold")
        line.append(f"  {status.size_bytes / 1e6:.0f} MB  {status.messages} messages  ")
        line.append(f"{status.dropped} lost", style="bold red" if status.dropped else "green")
    else:
        line.append(f"episode {number} is next", style="bold")
    return line


def _what(status: EpisodeStatus) -> Text:
    who = status.operator_name or "nobody named"
    if not status.instruction:
        return Text("no instruction yet: press i and say what is going to be done", style="yellow")
    return Text.assemble((f"“{status.instruction}”", "bold cyan"), f"  by {who}  ", (status.episode_id, "dim"))


def _reasons(status: EpisodeStatus) -> list[str]:
    reasons = [_short(reason) for reason in status.reason.split("; ") if reason]
    return (
        reasons
        if len(reasons) <= _MAX_REASONS
        else [*reasons[:_MAX_REASONS], f"and {len(reasons) - _MAX_REASONS} more"]
    )


def _short(text: str) -> str:
    """Topics as an operator calls them."""
    return text.replace(_PREFIX, "").replace("/image_raw", "").replace("aligned_depth_to_color", "depth")


def _streams(status: EpisodeStatus) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="dim", pad_edge=False)
    table.add_column("stream", no_wrap=True, min_width=40)
    for column in ("Hz", "of", "old ms", "lost"):
        table.add_column(column, justify="right", min_width=6)
    table.add_column("")
    for stream in status.streams:
        if stream.problem or stream.lost or not stream.topic.endswith(_COMPANIONS):
            table.add_row(*_stream_row(stream))
    return table


def _stream_row(stream: StreamStatus) -> tuple[Text | str, ...]:
    name = _short(stream.topic)
    well = not stream.problem and not stream.lost
    problem = "too slow" if stream.problem.startswith("comes at") else stream.problem  # the figures stand beside it
    return (
        name,
        Text(f"{stream.rate_hz:.1f}", style="green" if not stream.problem else "bold red"),
        f"{stream.expected_hz:g}" if stream.expected_hz else "-",
        f"{stream.latency_ms:.0f}" if stream.latency_ms >= 0 else "-",
        Text(str(stream.lost), style="bold red" if stream.lost else "dim"),
        Text("ok" if well else problem or "loses messages", style="green" if well else "bold red"),
    )


def _arm(picture: Picture) -> Text:
    servo, teleop = picture.servo, picture.teleop
    line = Text("arm      ", style="dim")
    if servo is None:
        line.append("not heard", style="red")
    else:
        name, style = _SERVO.get(servo.state, ("unknown", "red"))
        line.append(name, style=f"bold {style}")
        if servo.source:
            line.append(f" by {servo.source}", style="default")
        if servo.reason and servo.state != ServoStatus.EXECUTING:
            line.append(f" ({servo.reason})", style="dim")
    hops = [
        hop for hop in (picture.latency.hops if picture.latency else []) if hop.name == "camera to servo" and hop.count
    ]
    if hops:
        line.append("   camera to servo ", style="dim")
        line.append(f"p50 {hops[0].p50_ms:.0f}  p99 {hops[0].p99_ms:.0f} ms", style="default")
    if teleop is not None:
        state = "engaged" if teleop.engaged else "enabled" if teleop.enabled else "free" if teleop.alive else "lost"
        style = "red" if not teleop.alive else "bold green" if teleop.engaged else "default"
        line.append("\ndevice   ", style="dim")
        line.append(f"{teleop.device} {state}{' (takeover)' if teleop.takeover else ''}", style=style)
    return line


def _disk(status: EpisodeStatus, store: str) -> Text:
    line = Text.assemble(("disk     ", "dim"), (f"{status.disk_free_bytes / 1e9:.1f} GB free", "bold"))
    if status.disk_minutes_left >= 0:
        style = "bold red" if status.disk_minutes_left < 10 else "default"
        line.append(f", about {status.disk_minutes_left:.0f} min of recording", style=style)
    line.append(f"   {store}", style="dim")
    line.append("\nsitting  ", style="dim")
    line.append(f"{status.episodes_kept} kept, {status.episodes_dropped} dropped", style="default")
    if status.last_episode_id:
        line.append("   last ", style="dim")
        line.append(f"{status.last_outcome}", style=f"bold {_OUTCOMES.get(status.last_outcome, 'default')}")
        line.append(f" {status.last_episode_id}", style="dim")
    return line


def _keys(status: EpisodeStatus | None) -> Table:
    """Every key, those that do something now in colour."""
    state = None if status is None else status.state
    recording, review = state == EpisodeStatus.RECORDING, state == EpisodeStatus.REVIEW
    last = status is not None and bool(status.last_episode_id)
    keys = [
        ("space", "stop" if recording else "start", recording or state == EpisodeStatus.IDLE),
        ("s", "success", recording or review or last),
        ("f", "failure", recording or review or last),
        ("d", "drop" if recording or review else "drop last", recording or review or last),
        ("i", "instruction", state is not None and not recording),
        ("a", "arm may move", state is not None),
        ("x", "stop arm", state is not None),
        ("q", "quit", True),
    ]
    grid = Table.grid(padding=(0, 3))
    cells = [
        Text.assemble(
            (f" {key} ", "bold black on cyan" if possible else "dim reverse"),
            (f" {name}", "default" if possible else "dim"),
        )
        for key, name, possible in keys
    ]
    for row in (cells[:4], cells[4:]):
        grid.add_row(*row)
    return grid


def _answer(picture: Picture) -> Text:
    if picture.busy:
        return Text("…", style="dim")
    return Text(_short(picture.said), style="bold red" if picture.refused else "green")
