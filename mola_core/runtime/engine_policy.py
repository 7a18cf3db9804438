"""The two halves of a policy, run by engines: numbers in, numbers out, and whose they are is checked at every call."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from mola_core.contracts.clock import NS_PER_MS
from mola_core.contracts.errors import MolaError, UnsupportedError
from mola_core.contracts.io_spec import STATE_SIZE, IoSpec
from mola_core.contracts.normalization import Normalization
from mola_core.runtime import stages
from mola_core.runtime.engines.checks import zeros
from mola_core.runtime.engines.protocol import Engine
from mola_core.runtime.foresight import Foresight, Observed
from mola_core.runtime.language import SentenceEncoder
from mola_core.runtime.noise import SeedCounter, action_noise, video_noise
from mola_core.runtime.policy import PolicyAnswer
from mola_core.runtime.tensors import RuntimeInputError, Tensor, Tensors, TensorSpec, finish, on_host

_REHEARSAL = "open the drawer"


@dataclass(frozen=True)
class Identity:
    """Whose halves these are."""

    bundle_id: str
    io_spec: IoSpec


class EngineImagination:
    """Encoder, video network and preview; see :class:`mola_core.runtime.foresight.Imagination`.

    ``encoder`` and ``video`` are None for a policy without imagination: its foresight then holds the images themselves.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        encoder: Engine | None,
        video: Engine | None,
        preview: Engine | None,
        language: SentenceEncoder,
        passes_on: frozenset[str],
    ) -> None:
        """``passes_on`` names the tensors that the actor reads; no others leave this half."""
        self.bundle_id = identity.bundle_id
        self._io = identity.io_spec
        self._encoder, self._video, self._preview = encoder, video, preview
        self._language = language
        self._passes_on = passes_on
        self._seeds = SeedCounter()
        period_ns = self._io.contract.period_ns
        self._offsets_ns = (0, *(offset * period_ns for offset in self._io.foresight_offsets))
        self._noise_shape = _shape_of(video, stages.VIDEO_NOISE) if video is not None else ()
        self._cameras = tuple(view.camera for view in self._io.views)
        self._turn = threading.Lock()
        self._closed = False

    def imagine(self, observed: Observed, *, noise_seed: int | None = None) -> Foresight:
        """See :class:`mola_core.runtime.foresight.Imagination`. Calls wait for one another.

        Raises:
            MolaError: it is closed.
        """
        with self._turn:
            _require_open(self.bundle_id, closed=self._closed)
            return self._imagine(observed, noise_seed)

    def _imagine(self, observed: Observed, noise_seed: int | None) -> Foresight:
        images = self._images(observed.views)
        seed = self._seeds.take(noise_seed)
        timings: dict[str, float] = {}
        tensors: dict[str, Tensor] = {stages.IMAGES: images}
        if self._encoder is not None and self._video is not None:
            with _timed(timings, "encoder"):
                tensors |= self._encoder.run({stages.IMAGES: images})
            with _timed(timings, "video"):
                imagined = self._video.run(self._video_inputs(tensors, observed.instruction, seed))
                finish(imagined)  # here, where somebody watches how long it takes and what goes wrong
            tensors |= imagined
        kept = self._passes_on if self._preview is None else self._passes_on | {stages.PRESENT}
        return Foresight(
            stamp_ns=observed.stamp_ns,
            bundle_id=self.bundle_id,
            instruction=observed.instruction,
            cameras=self._cameras,
            offsets_ns=self._offsets_ns,
            tensors={name: tensor for name, tensor in tensors.items() if name in kept},
            noise_seed=seed,
            timings_ms=timings,
        )

    def preview(self, foresight: Foresight) -> Mapping[str, UInt8[np.ndarray, "T height width 3"]]:
        """See :class:`mola_core.runtime.foresight.Imagination`."""
        if self._preview is None:
            raise UnsupportedError(f"bundle {self.bundle_id} has no engine for previews")
        _check_bundle(foresight, self.bundle_id)
        inputs = self._video_inputs(foresight.tensors, foresight.instruction, foresight.noise_seed)
        frames = on_host(self._preview.run(inputs)[stages.FRAMES])
        return {camera: frames[index] for index, camera in enumerate(self._cameras)}

    def warm(self) -> None:
        """Let every engine allocate, tune and capture what it will."""
        for engine in (self._encoder, self._video, self._preview):
            if engine is not None:
                engine.warm()

    def rehearse(self) -> None:
        """Imagine once from black pictures, preview included: whatever happens at a first use happens now."""
        views = {view.camera: np.zeros((view.height, view.width, 3), np.uint8) for view in self._io.views}
        foresight = self.imagine(Observed(stamp_ns=0, views=views, instruction=_REHEARSAL), noise_seed=0)
        if self._preview is not None:
            self.preview(foresight)

    def close(self) -> None:
        """Free the engines, once a call that is under way has ended; safe to call twice."""
        with self._turn:
            self._closed = True
            for engine in (self._encoder, self._video, self._preview):
                if engine is not None:
                    engine.close()

    def _video_inputs(self, tensors: Tensors, instruction: str, seed: int) -> dict[str, Tensor]:
        noise = video_noise(seed, shape=self._noise_shape)
        return {
            stages.PRESENT: tensors[stages.PRESENT],
            stages.VIDEO_NOISE: noise,
            **_told(self._language, instruction),
        }

    def _images(self, views: Mapping[str, UInt8[np.ndarray, "height width 3"]]) -> UInt8[np.ndarray, "C H W 3"]:
        for spec in self._io.views:
            view = views.get(spec.camera)
            if view is None:
                raise RuntimeInputError(
                    f"camera {spec.camera!r} is missing; given: {', '.join(sorted(views)) or 'none'}"
                )
            if view.shape != (spec.height, spec.width, 3) or view.dtype != np.uint8:
                raise RuntimeInputError(
                    f"view {spec.camera!r} is {view.shape} of {view.dtype}, the model takes ({spec.height}, {spec.width}, 3) of uint8"
                )
        return np.stack([views[camera] for camera in self._cameras])


class EngineActor:
    """Mixture, visual tokens and head in one engine; see :class:`mola_core.runtime.policy.Actor`."""

    def __init__(
        self,
        identity: Identity,
        *,
        engine: Engine,
        normalization: Normalization,
        language: SentenceEncoder,
        modalities: tuple[str, ...],
        max_settled: int = 0,
    ) -> None:
        self.bundle_id = identity.bundle_id
        self.modalities = modalities
        self.max_settled = max_settled
        self._io = identity.io_spec
        self._engine = engine
        self._normalization = normalization
        self._language = language
        self._seeds = SeedCounter()
        self._gains = np.ones(len(modalities), dtype=np.float32)
        self._noise_shape = _shape_of(engine, stages.ACTION_NOISE)
        self._turn = threading.Lock()
        self._closed = False

    def enable(self, modalities: frozenset[str]) -> None:
        """See :class:`mola_core.runtime.policy.Actor`."""
        unknown = modalities - set(self.modalities)
        if unknown:
            raise RuntimeInputError(
                f"modality {', '.join(sorted(unknown))} is not of this model; it has {', '.join(self.modalities) or 'none'}"
            )
        self._gains = np.array([name in modalities for name in self.modalities], dtype=np.float32)

    def act(
        self,
        foresight: Foresight,
        *,
        state: Float[np.ndarray, "13"],
        noise_seed: int | None = None,
        settled: Float[np.ndarray, "rows 7"] | None = None,
    ) -> PolicyAnswer:
        """See :class:`mola_core.runtime.policy.Actor`. Calls wait for one another.

        Raises:
            MolaError: it is closed.
        """
        with self._turn:
            _require_open(self.bundle_id, closed=self._closed)
            return self._act(foresight, state=state, noise_seed=noise_seed, settled=settled)

    def _act(
        self,
        foresight: Foresight,
        *,
        state: Float[np.ndarray, "13"],
        noise_seed: int | None,
        settled: Float[np.ndarray, "rows 7"] | None,
    ) -> PolicyAnswer:
        _check_bundle(foresight, self.bundle_id)
        timings = dict(foresight.timings_ms)
        seed = self._seeds.take(noise_seed)
        given: dict[str, Tensor] = {
            **foresight.tensors,
            **_told(self._language, foresight.instruction),
            stages.STATE: self._normalization.normalize_state(state),
            stages.ACTION_NOISE: action_noise(seed, shape=self._noise_shape),
            stages.GAINS: self._gains,
            **self._prefix(settled, state=state),
        }
        with _timed(timings, "actor"):
            outputs = self._engine.run(_fitted(given, self._engine.inputs))
            actions = on_host(outputs[stages.ACTIONS])
        rows = self._normalization.denormalize_actions(actions, state=state)
        return PolicyAnswer(
            stamp_ns=foresight.stamp_ns,
            targets=rows[:, :6],
            openings=np.clip(rows[:, 6], 0.0, 1.0),
            codes=self._by_modality(outputs, stages.codes_of),
            latents=self._by_modality(outputs, stages.latent_actions_of),
            foresight=foresight,
            timings_ms=timings,
        )

    def warm(self) -> None:
        """Let the engine allocate, tune and capture what it will."""
        self._engine.warm()

    def rehearse(self) -> None:
        """Answer an empty foresight once: whatever happens at a first use happens now."""
        foresight = Foresight(
            stamp_ns=0,
            bundle_id=self.bundle_id,
            instruction=_REHEARSAL,
            cameras=tuple(view.camera for view in self._io.views),
            offsets_ns=(),
            tensors=zeros(self._engine.inputs),
            noise_seed=0,
        )
        self.act(foresight, state=np.zeros(STATE_SIZE), noise_seed=0)

    def close(self) -> None:
        """Free the engine, once a call that is under way has ended; safe to call twice."""
        with self._turn:
            self._closed = True
            self._engine.close()

    def _prefix(
        self, settled: Float[np.ndarray, "rows 7"] | None, *, state: Float[np.ndarray, "13"]
    ) -> dict[str, Tensor]:
        rows, size = self._noise_shape
        actions, mask = np.zeros((rows, size), dtype=np.float32), np.zeros(rows, dtype=bool)
        if settled is not None and len(settled):
            if len(settled) > self.max_settled:
                raise RuntimeInputError(
                    f"{len(settled)} rows are settled; the head of {self.bundle_id} was shown {self.max_settled or 'none'} in training"
                )
            actions[: len(settled)] = self._normalization.normalize_actions(settled, state=state)
            mask[: len(settled)] = True
        return {stages.PREFIX_ACTIONS: actions, stages.PREFIX_SETTLED: mask}

    def _by_modality(self, outputs: Tensors, name_of: Callable[[str], str]) -> dict[str, np.ndarray]:
        return {name: on_host(outputs[name_of(name)]) for name in self.modalities if name_of(name) in outputs}


def _fitted(given: Mapping[str, Tensor], specs: Sequence[TensorSpec]) -> dict[str, Tensor]:
    """What ``specs`` declare of ``given``; floats of the host are cast (features cross processes in half precision).

    Raises:
        RuntimeInputError: something declared is missing.
    """
    missing = [spec.name for spec in specs if spec.name not in given]
    if missing:
        raise RuntimeInputError(f"the model also reads {', '.join(missing)}, which the foresight does not hold")
    return {spec.name: _cast(given[spec.name], spec) for spec in specs}


def _cast(tensor: Tensor, spec: TensorSpec) -> Tensor:
    if isinstance(tensor, np.ndarray) and tensor.dtype.kind == "f" and tensor.dtype.name != spec.dtype:
        return tensor.astype(spec.dtype)
    return tensor


def _told(language: SentenceEncoder, instruction: str) -> dict[str, Tensor]:
    encoded = language.encode(instruction)
    return {stages.TOKENS: encoded.tokens, stages.TOKEN_MASK: encoded.mask, stages.POOLED: encoded.pooled}


def _require_open(bundle_id: str, *, closed: bool) -> None:
    if closed:
        raise MolaError(f"bundle {bundle_id} has been retired")


def _check_bundle(foresight: Foresight, bundle_id: str) -> None:
    if foresight.bundle_id != bundle_id:
        raise RuntimeInputError(f"a foresight of bundle {foresight.bundle_id!r} was given to bundle {bundle_id!r}")


def _shape_of(engine: Engine, name: str) -> tuple[int, ...]:
    shapes = {spec.name: spec.shape for spec in engine.inputs}
    if name not in shapes:
        raise RuntimeInputError(f"engine {engine.name} has no input {name!r}; it takes {', '.join(shapes)}")
    return shapes[name]


@contextmanager
def _timed(timings: dict[str, float], name: str) -> Iterator[None]:
    begin = time.perf_counter_ns()
    yield
    timings[name] = (time.perf_counter_ns() - begin) / NS_PER_MS
