"""What the recorder is asked, and what it says of itself."""

from mola_interfaces.msg import EpisodeStatus, StreamStatus
from mola_interfaces.srv import EpisodeControl

from mola_core.data.episodes.meta import Outcome
from mola_core.data.episodes.session import EpisodeRequest, SessionState, SessionStatus
from mola_core.data.episodes.watch import StreamCondition
from mola_nodes.conversions.wire import MessageError, duration_from_ns, time_from_ns

_OUTCOMES = {
    EpisodeControl.Request.UNKNOWN: Outcome.UNKNOWN,
    EpisodeControl.Request.SUCCESS: Outcome.SUCCESS,
    EpisodeControl.Request.FAILURE: Outcome.FAILURE,
}
_STATES = {SessionState.RECORDING: EpisodeStatus.RECORDING, SessionState.REVIEW: EpisodeStatus.REVIEW}


def episode_request(request: EpisodeControl.Request) -> EpisodeRequest:
    """What START says of the episode."""
    return EpisodeRequest(instruction=request.instruction, operator=request.operator_name, task=request.task)


def outcome_of(request: EpisodeControl.Request) -> Outcome:
    """What KEEP says of the episode.

    Raises:
        MessageError: an outcome that does not exist.
    """
    outcome = _OUTCOMES.get(request.outcome)
    if outcome is None:
        raise MessageError(f"outcome {request.outcome} is unknown; 0 unknown, 1 success, 2 failure")
    return outcome


def episode_status_message(status: SessionStatus, *, now_ns: int) -> EpisodeStatus:
    """Status for the wire."""
    idle = EpisodeStatus.IDLE if status.can_start else EpisodeStatus.BLOCKED
    minutes = status.disk_minutes_left
    return EpisodeStatus(
        version=EpisodeStatus.VERSION,
        stamp=time_from_ns(now_ns if status.newest_ns is None else status.newest_ns),
        state=_STATES.get(status.state, idle),
        reason=status.reason,
        episode_id=status.episode_id,
        instruction=status.request.instruction,
        operator_name=status.request.operator,
        length=duration_from_ns(status.length_ns),
        messages=status.messages,
        dropped=status.dropped,
        size_bytes=status.size_bytes,
        episodes_kept=status.episodes_kept,
        episodes_dropped=status.episodes_dropped,
        last_episode_id=status.last_episode_id,
        last_outcome="" if status.last_outcome is None else status.last_outcome.value,
        disk_free_bytes=status.disk_free_bytes,
        disk_minutes_left=-1.0 if minutes is None else float(minutes),
        streams=[_stream_message(stream) for stream in status.streams],
    )


def _stream_message(stream: StreamCondition) -> StreamStatus:
    return StreamStatus(
        topic=stream.topic,
        rate_hz=float(stream.rate_hz),
        expected_hz=float(stream.expected_hz),
        latency_ms=-1.0 if stream.latency_ms is None else float(stream.latency_ms),
        age_ms=-1.0 if stream.age_ms is None else float(stream.age_ms),
        messages=stream.messages,
        lost=stream.lost,
        problem=stream.problem,
    )
