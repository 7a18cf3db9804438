"""The recorder's keys: what each command, and each word on the key topic, asks of a session."""

from collections.abc import Callable

from mola_interfaces.srv import EpisodeControl

from mola_core.data.episodes.meta import EpisodeError, Outcome
from mola_core.data.episodes.session import EpisodeRequest, RecorderSession, SessionState
from mola_nodes.conversions.episodes import episode_request, outcome_of

_SAME_AGAIN = EpisodeRequest(instruction="", operator="")


def press(session: RecorderSession, word: str) -> str:
    """One word: start, stop, toggle (one of these two), success, failure or drop. Returns the id of the episode concerned.

    Raises:
        EpisodeError: no such key, or the session refuses; says why.
    """
    recording = session.state is SessionState.RECORDING
    keys: dict[str, Callable[[], str]] = {
        "start": lambda: session.start(_SAME_AGAIN),
        "stop": session.stop,
        "toggle": session.stop if recording else lambda: session.start(_SAME_AGAIN),
        "success": lambda: session.keep(Outcome.SUCCESS),
        "failure": lambda: session.keep(Outcome.FAILURE),
        "drop": session.drop,
    }
    key = keys.get(word.strip().lower())
    if key is None:
        raise EpisodeError(f"key {word!r:.40} is unknown; there are {', '.join(keys)}")
    return key()


def command(session: RecorderSession, request: EpisodeControl.Request) -> tuple[str, str]:
    """A request of the service; the id of the episode concerned, and what was done.

    Raises:
        MolaError: no such command or outcome, or the session refuses; says why.
    """
    if request.command == request.START:
        return session.start(episode_request(request)), "recording"
    if request.command == request.STOP:
        return session.stop(), "stopped; success, failure or drop?"
    if request.command == request.KEEP:
        outcome = outcome_of(request)
        return session.keep(outcome), f"kept as {outcome.value}"
    if request.command == request.DROP:
        return session.drop(), "dropped into the trash"
    raise EpisodeError(f"command {request.command} is unknown; 0 start, 1 stop, 2 keep, 3 drop")
