"""The streams of an episode, read from its bag once and put through the one resampler."""

from collections.abc import Iterator

from mola_core.contracts.resample import Gap, ResampleLimits, Resampler, Row
from mola_core.contracts.types import CommandedState, Frame, RobotState
from mola_core.data.episodes import decoding
from mola_core.data.episodes.frames import FramePairing
from mola_core.data.episodes.reader import EpisodeReader

Item = Frame | RobotState | CommandedState


def episode_items(episode: EpisodeReader) -> Iterator[tuple[str, Item]]:
    """(stream, item) of colour frames, measured and commanded states, nearly in the order of arrival; depth is passed over.

    Raises:
        EpisodeError: the bag is damaged.
    """
    streams = episode.meta.streams
    pairings = {camera: FramePairing(one) for camera, one in streams.cameras.items()}
    of_topic = {topic: camera for camera, one in streams.cameras.items() for topic in (one.color, one.metadata)}
    topics = [streams.robot_state, streams.commanded, *of_topic]
    for recorded in episode.messages(*(topic for topic in topics if topic in episode.streams)):
        if recorded.topic == streams.robot_state:
            yield "robot state", decoding.robot_state(recorded.message)
        elif recorded.topic == streams.commanded:
            yield "commanded state", decoding.commanded_state(recorded.message)
        else:
            camera = of_topic[recorded.topic]
            for frame in pairings[camera].add(recorded.topic, recorded.message, received_ns=recorded.received_ns):
                yield camera, frame
    for camera, pairing in pairings.items():
        for frame in pairing.rest():
            yield camera, frame


def feed(resampler: Resampler, stream: str, item: Item) -> None:
    """Hand an item to the resampler."""
    if isinstance(item, Frame):
        resampler.add_frame(stream, item)
    elif isinstance(item, RobotState):
        resampler.add_state(item)
    else:
        resampler.add_commanded(item)


def episode_rows(
    episode: EpisodeReader, *, limits: ResampleLimits | None = None, start_ns: int | None = None
) -> Iterator[Row | Gap]:
    """Rows of the episode's own contract, and gaps where there is none.

    Raises:
        EpisodeError: the bag is damaged.
    """
    resampler = Resampler(episode.meta.contract, limits=limits, start_ns=start_ns)
    for stream, item in episode_items(episode):
        feed(resampler, stream, item)
        yield from resampler.rows()
    yield from resampler.finish()
