"""The halves of a bundle as an engine slot holds them: checked against the site, loaded, and closed when nobody uses them."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from mola_core.contracts.bundle import BundleError, require_site
from mola_core.contracts.errors import MolaError
from mola_core.contracts.io_spec import IoSpec
from mola_core.contracts.site import Site
from mola_core.runtime.bundle_policy import OpenedBundle, OpenOptions, open_actor, open_bundle, open_imagination
from mola_core.runtime.engine_policy import EngineActor, EngineImagination
from mola_core.runtime.foresight import Foresight, Observed


class LoadedImagination:
    """The first half. Previews may be asked for in another thread; closing waits for one that is being drawn."""

    def __init__(self, bundle: OpenedBundle, imagination: EngineImagination) -> None:
        self.bundle_id = bundle.manifest.bundle_id
        self.io = bundle.manifest.io
        self._imagination = imagination
        self._drawing = threading.Lock()
        self._closed = False

    @property
    def imagination(self) -> "LoadedImagination":
        """Itself, behind :class:`mola_core.runtime.foresight.Imagination`."""
        return self

    def imagine(self, observed: Observed, *, noise_seed: int | None = None) -> Foresight:
        """See :class:`mola_core.runtime.foresight.Imagination`."""
        return self._imagination.imagine(observed, noise_seed=noise_seed)

    def preview(self, foresight: Foresight) -> Mapping[str, UInt8[np.ndarray, "T height width 3"]]:
        """See :class:`mola_core.runtime.foresight.Imagination`.

        Raises:
            MolaError: this half has been retired meanwhile.
        """
        with self._drawing:
            if self._closed:
                raise MolaError(f"bundle {self.bundle_id} has been retired")
            return self._imagination.preview(foresight)

    def close(self) -> None:
        """Free the engines."""
        with self._drawing:
            self._closed = True
            self._imagination.close()


@dataclass(frozen=True)
class LoadedActor:
    """The second half."""

    bundle_id: str
    io: IoSpec
    actor: EngineActor

    def close(self) -> None:
        """Free the engine."""
        self.actor.close()


class BundleShelf:
    """A folder of bundles, ``<name>/<version>/``, and what this site asks of them."""

    def __init__(self, root: Path, *, site: Site, threads: int = 0) -> None:
        """``threads`` of each CPU engine; 0 leaves the choice to the runtime."""
        self.root = root
        self._site = site
        self._threads = threads

    def names(self) -> tuple[str, ...]:
        """Ids of what looks like a bundle."""
        return tuple(
            sorted(f"{path.parent.parent.name}/{path.parent.name}" for path in self.root.glob("*/*/manifest.json"))
        )

    def path_of(self, bundle_id: str) -> Path:
        """Where the bundle lies.

        Raises:
            BundleError: there is none of this id.
        """
        name, _, version = bundle_id.partition("/")
        path = self.root / name / version
        if not (name and version and path.is_dir() and path.resolve().is_relative_to(self.root.resolve())):
            raise BundleError(
                f"there is no bundle {bundle_id!r} in {self.root}; it has {', '.join(self.names()) or 'none'}"
            )
        return path

    def open(self, bundle_id: str, *, preview: bool = True, verify: bool = True) -> OpenedBundle:
        """Verify it and see that this site can feed it. Without ``verify`` its bytes are not looked at, which takes no time.

        Raises:
            BundleError: absent, damaged, not for this machine, or for other cameras than the site's.
        """
        path = self.path_of(bundle_id)
        bundle = open_bundle(path, OpenOptions(threads=self._threads, preview=preview, verify=verify))
        if bundle.manifest.bundle_id != bundle_id:
            raise BundleError(
                f"{path} says that it is bundle {bundle.manifest.bundle_id}; it was renamed or copied wrongly"
            )
        require_site(bundle.manifest, self._site)
        return bundle

    def imagination(self, bundle_id: str, *, preview: bool = True) -> LoadedImagination:
        """The first half, warm, self-tested and rehearsed. Raises as :meth:`open`, and EngineError."""
        bundle = self.open(bundle_id, preview=preview)
        imagination = open_imagination(bundle)
        _rehearse(imagination)
        return LoadedImagination(bundle, imagination)

    def actor(self, bundle_id: str) -> LoadedActor:
        """The second half, warm, self-tested and rehearsed. Raises as :meth:`open`, and EngineError."""
        bundle = self.open(bundle_id)
        actor = open_actor(bundle)
        _rehearse(actor)
        return LoadedActor(bundle_id, bundle.manifest.io, actor)


def _rehearse(half: EngineImagination | EngineActor) -> None:
    """One pass of our own code as well: what it imports, encodes or allocates at its first use must not wait for a moving arm."""
    try:
        half.rehearse()
    except BaseException:
        half.close()
        raise
