"""Imagines: the newest frames and the instruction in, foresights of the bundle in service out; pictures for people beside it."""

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, NoReturn

import numpy as np
from std_msgs.msg import String

from mola_core.contracts.bundle import read_manifest
from mola_core.contracts.crossing import why_together
from mola_core.contracts.errors import ConfigError
from mola_core.contracts.site import load_site
from mola_core.runtime.foresight import Foresight
from mola_core.runtime.halves import BundleShelf, LoadedImagination
from mola_core.runtime.slot import EngineSlot
from mola_nodes import graph
from mola_nodes.conversions.images import side_by_side_message
from mola_nodes.imagination.delivery import Delivery, GraphDelivery
from mola_nodes.imagination.frames import NewestFrames
from mola_nodes.imagination.loop import ImaginationLoop, LoopParts, LoopSettings
from mola_nodes.imagination.preview import PreviewThread
from mola_nodes.imagination.shadowing import ImaginationShadow
from mola_nodes.lifecycle import MolaNode
from mola_nodes.params import Param, SiteParams
from mola_nodes.policy.half_reports import HalfReports
from mola_nodes.process import Ending, run_node

HALF = "imagination"
LEAD_ROLE = "third_person"
"""Its frames set the pace."""


@dataclass(frozen=True)
class ImaginationParams(SiteParams):
    """Parameters of the imagination."""

    models: Annotated[str, Param("Folder of bundles, <name>/<version>/")] = "models"
    threads: Annotated[int, Param("Threads of each CPU engine; 0: the runtime's choice", minimum=0, maximum=64)] = 1
    preview_hz: Annotated[float, Param("Pictures for people; 0: none", unit="Hz", minimum=0.0, maximum=10.0)] = 1.0
    unasked_hz: Annotated[
        float, Param("Foresights a second while the policy asks for none", unit="Hz", minimum=0.1, maximum=100.0)
    ] = 2.0
    late_ms: Annotated[float, Param("A bundle slower than this is taken out", unit="ms", minimum=1, maximum=10_000)] = (
        400.0
    )
    shadow_every: Annotated[
        int, Param("Turns of the bundle in service for one of the staged", minimum=1, maximum=100)
    ] = 4


class ImaginationNode(MolaNode[ImaginationParams]):
    """Wires cameras, slot, loop and preview."""

    def __init__(self, ending: Ending, *, delivery: Delivery | None = None) -> None:
        """``delivery`` hands foresights to a policy in this process; without it they go over the graph."""
        super().__init__(graph.IMAGINATION, params_type=ImaginationParams, ending=ending)
        self._local = delivery
        self._instruction = ""

    def configure(self, stack: ExitStack) -> None:
        """Read the site and open the topics."""
        self._site = load_site(Path(self.params.site))
        if LEAD_ROLE not in self._site.cameras:
            raise ConfigError(f"site {self._site.name!r} has no camera {LEAD_ROLE!r}, which sets the pace")
        shelf = BundleShelf(Path(self.params.models), site=self._site, threads=self.params.threads)
        load = partial(self._load, shelf)
        foresights = self.open_publisher(graph.FORESIGHT, stack)
        self._delivery = self._local or GraphDelivery(foresights)
        self._previews = {role: self.open_publisher(graph.preview_topic(role), stack) for role in self._site.cameras}
        self._slot = stack.enter_context(EngineSlot[LoadedImagination](load))

    def activate(self, stack: ExitStack) -> None:
        """Look, listen and imagine."""
        frames = NewestFrames(self._site.cameras, clock=self.system_clock)
        settings = LoopSettings(
            lead_role=LEAD_ROLE,
            stale_ms=self._site.safety.max_observation_age_ms,
            late_ms=self.params.late_ms,
            shadow_every=self.params.shadow_every,
            unasked_hz=self.params.unasked_hz,
        )
        shadow = stack.enter_context(
            ImaginationShadow(slot=self._slot, delivery=self._delivery, troubles=self.troubles("shadow"))
        )
        parts = LoopParts(
            slot=self._slot,
            frames=frames,
            instruction=lambda: self._instruction,
            delivery=self._delivery,
            shadow=shadow.offer,
            troubles=self.troubles("imagination"),
            clock=self.system_clock,
        )
        self._loop = stack.enter_context(ImaginationLoop(parts, settings))
        if self.params.preview_hz > 0:
            preview = PreviewThread(
                newest=lambda: self._loop.newest,
                show=self._show,
                period_s=1.0 / self.params.preview_hz,
                troubles=self.troubles("preview"),
            )
            stack.enter_context(preview)
        for role in self._site.cameras:
            self.open_subscription(graph.camera_topics(role).color, partial(frames.note, role), stack)
        self.open_subscription(graph.INSTRUCTION, self._on_instruction, stack)
        self.open_subscription(graph.FORESIGHT_WANTED, lambda _message: self._loop.ask(), stack)
        # the loop itself looks after its slot while nothing is asked for
        HalfReports(self, HALF, slot=self._slot, runs=self._loop.runs, idle=lambda: False, stack=stack)

    def _load(self, shelf: BundleShelf, bundle_id: str) -> LoadedImagination:
        half = shelf.imagination(bundle_id, preview=self.params.preview_hz > 0)
        apart = "" if self._local is not None else why_together(read_manifest(shelf.path_of(bundle_id)))
        if apart:
            self.get_logger().warning(apart)
        return half

    def _on_instruction(self, message: String) -> None:
        self._instruction = message.data

    def _show(self, camera: str, frames: np.ndarray, foresight: Foresight) -> None:
        message = side_by_side_message(frames, stamp_ns=foresight.stamp_ns, frame_id=graph.optical_frame(camera))
        self._previews[camera].publish(message)


def main() -> NoReturn:
    """Entry point of the executable."""
    run_node(ImaginationNode)
