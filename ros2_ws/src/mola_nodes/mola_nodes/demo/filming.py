"""Films the cameras of a running graph while it works."""

import threading
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from sensor_msgs.msg import Image

from mola_core.contracts.clock import NS_PER_S, Clock, SystemClock
from mola_nodes import graph
from mola_nodes.background import come_last
from mola_nodes.conversions.images import color_from_message
from mola_nodes.demo.imagined import ImaginedStrip
from mola_nodes.demo.operator_client import OperatorClient
from mola_nodes.demo.video import Rgb, SideBySideVideo

FPS = 10.0


class CameraFilm:
    """A thread that writes the newest picture of every camera, ten times a second, to one video."""

    def __init__(
        self,
        path: Path,
        *,
        operator: OperatorClient,
        roles: tuple[str, ...],
        imagined: bool = False,
        clock: Clock | None = None,
    ) -> None:
        """``imagined`` shows below the pictures what a learned policy imagines, and its codes."""
        self.path = path
        self.caption = ""
        """Shown above the pictures; may be changed at any time."""
        self._operator = operator
        self._clock = clock or SystemClock()
        self._pictures: dict[str, Rgb | None] = dict.fromkeys(roles)
        self._strip = ImaginedStrip(operator=operator, roles=roles) if imagined else None
        self._video = SideBySideVideo(path, fps=FPS)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="film", daemon=True)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._video)
            for role in self._pictures:
                self._operator.subscribe(graph.camera_topics(role).color, self._keeper(role))
            stack.pop_all()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self._video.__exit__(kind, error, trace)

    def _keeper(self, role: str) -> "_Keeper":
        return _Keeper(self._pictures, role)

    def _run(self) -> None:
        come_last()
        deadline_ns = self._clock.monotonic_ns()
        while not self._done.is_set():
            pictures = {role: picture for role, picture in self._pictures.items() if picture is not None}
            if len(pictures) == len(self._pictures):
                self._video.write(pictures, caption=self.caption, below=self._below(pictures))
            deadline_ns += round(NS_PER_S / FPS)
            self._clock.sleep_until(deadline_ns)

    def _below(self, pictures: dict[str, Rgb]) -> Rgb | None:
        if self._strip is None:
            return None
        width = sum(picture.shape[1] for picture in pictures.values())
        return self._strip.draw(width, next(iter(pictures.values())).shape[0] // 3)


class _Keeper:
    """Keeps the newest picture of one camera."""

    def __init__(self, pictures: dict[str, Rgb | None], role: str) -> None:
        self._pictures = pictures
        self._role = role

    def __call__(self, message: Image) -> None:
        self._pictures[self._role] = color_from_message(message).copy()
