"""Video clips of one camera: encoding row by row, joining without encoding again, decoding by frame number.

H.264 with full colour resolution (4:4:4): halving it, as most players expect, costs 6 dB on small pictures of coloured things.
A key frame every ten, no frames that depend on later ones, and the simple entropy coder: random access stays cheap.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from jaxtyping import UInt8

from mola_core.data.lerobot.errors import DatasetError

CODEC = "libx264"
PIXEL_FORMAT = "yuv444p"
KEY_FRAME_ROWS = 10
OPTIONS = {"crf": "18", "preset": "veryfast", "tune": "fastdecode", "g": str(KEY_FRAME_ROWS), "bf": "0", "threads": "1"}

Image = UInt8[np.ndarray, "height width 3"]
Images = UInt8[np.ndarray, "rows height width 3"]


class ClipWriter:
    """Encodes frames as they come; memory does not grow. Close it, or the file is not readable."""

    def __init__(self, path: Path, *, width: int, height: int, fps: int) -> None:
        self._container = av.open(str(path), "w", format="mp4")
        self._stream = cast(VideoStream, self._container.add_stream(CODEC, rate=fps, options=OPTIONS))
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, PIXEL_FORMAT
        self._stream.time_base = Fraction(1, fps)
        self._row = 0
        self._closed = False

    def add(self, image: Image) -> None:
        """Append one RGB frame of the clip's size."""
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts, self._row = self._row, self._row + 1
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Flush the encoder and write the index; safe to call twice."""
        if not self._closed and self._row:
            self._container.mux(self._stream.encode())
        self._closed = True
        self._container.close()


def join_clips(clips: Sequence[Path], lengths: Sequence[int], target: Path, *, fps: int) -> None:
    """Copy the packets of ``clips`` (with ``lengths`` frames each) one after the other into ``target``.

    Raises:
        DatasetError: a clip is unreadable, has not as many frames as it should, or was encoded otherwise than the first.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(target), "w", format="mp4", options={"movflags": "faststart"}) as output:
        copy: VideoStream | None = None
        extradata = None
        rows = 0
        for clip, length in zip(clips, lengths, strict=True):
            with open_video(clip) as source:
                stream = source.streams.video[0]
                if copy is None:
                    copy, extradata = output.add_stream_from_template(stream), stream.codec_context.extradata
                    copy.time_base = stream.time_base
                elif stream.codec_context.extradata != extradata:
                    raise DatasetError(f"{clip} was encoded otherwise than {clips[0]}; they cannot share a file")
                if _copy_packets(source, stream, output, copy, first_row=rows, fps=fps) != length:
                    raise DatasetError(f"{clip} does not hold the {length} frames that its episode has")
            rows += length


def _copy_packets(
    source: InputContainer,
    stream: VideoStream,
    output: av.container.OutputContainer,
    copy: VideoStream,
    *,
    first_row: int,
    fps: int,
) -> int:
    assert stream.time_base is not None  # noqa: S101  # an opened stream has one
    shift = round(Fraction(first_row, fps) / stream.time_base)
    count = 0
    for packet in source.demux(stream):
        if packet.dts is None or packet.pts is None:  # the end of the stream
            continue
        packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
        packet.stream = copy
        output.mux(packet)
        count += 1
    return count


def open_video(path: Path) -> InputContainer:
    """Open a video for reading.

    Raises:
        DatasetError: missing, truncated, or no video.
    """
    try:
        container = av.open(str(path))
    except (FFmpegError, OSError) as error:
        raise DatasetError(f"{path} cannot be read as a video: {error}") from error
    if not container.streams.video:
        container.close()
        raise DatasetError(f"{path} holds no video")
    return container


class VideoFile:
    """Decodes the frames of one file by number. Not to be shared between threads or processes."""

    def __init__(self, path: Path, *, fps: int) -> None:
        self.path = path
        self._fps = fps
        self._container = open_video(path)
        self._stream = self._container.streams.video[0]
        self._stream.thread_count = 1
        assert self._stream.time_base is not None  # noqa: S101  # an opened stream has one
        self._ticks_a_frame = 1 / (fps * self._stream.time_base)
        self._converter = VideoReformatter()  # one for all: making its tables takes ten times as long as using them
        self._decoded: Iterator[av.VideoFrame] = iter(())
        self._next: int | None = None
        """Number of the frame that ``_decoded`` gives next; None before the first seek."""

    @property
    def num_frames(self) -> int:
        """As the file's index says, without decoding."""
        return self._stream.frames

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self._stream.width, self._stream.height

    def check_stamps(self, num_frames: int) -> list[str]:
        """Decode everything; what is wrong with the times of the ``num_frames`` frames."""
        problems = []
        at = 0
        try:
            self._container.seek(0, stream=self._stream)
            for frame in self._container.decode(self._stream):
                if at < num_frames and frame.pts != round(at * self._ticks_a_frame):
                    problems.append(
                        f"{self.path}: frame {at} is shown at {frame.time} s, due at {at / self._fps:.3f} s"
                    )
                at += 1
        except FFmpegError as error:
            problems.append(f"{self.path} cannot be decoded at frame {at}: {error}")
        self._next = None
        if at != num_frames:
            problems.append(f"{self.path} gives {at} frames when decoded, {num_frames} are due")
        return problems

    def frame(self, number: int) -> Image:
        """Frame ``number`` (from 0) as RGB; fast when called in ascending order.

        Raises:
            DatasetError: the file ends before it or cannot be decoded.
        """
        near = self._next is not None and self._next <= number < self._next + KEY_FRAME_ROWS
        try:
            if not near:
                self._seek(number)
            for frame in self._decoded:
                at = round((frame.pts or 0) / self._ticks_a_frame)
                self._next = at + 1
                if at == number:
                    image: Image = self._converter.reformat(frame, format="rgb24").to_ndarray()
                    return image
                if at > number:
                    break
        except FFmpegError as error:
            raise DatasetError(f"{self.path} cannot be decoded at frame {number}: {error}") from error
        raise DatasetError(f"{self.path} has no frame {number}; it is truncated or not the video of its episodes")

    def _seek(self, number: int) -> None:
        self._container.seek(round(number * self._ticks_a_frame), stream=self._stream)
        self._decoded = self._container.decode(self._stream)
        self._next = None

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
