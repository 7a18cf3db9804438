"""What a model is made of and what it costs to run, without allocating any of it.

Everything happens with torch's fake tensors, which have shapes and no memory: the full-size model is surveyed on any machine.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from mola_core.nets.building import Backbone
from mola_core.nets.config import MolaConfig
from mola_core.nets.image_encoder import ImageEncoder
from mola_core.nets.mola import Imagination, Mola, NetObservation, build_mola
from mola_core.nets.protocols import Instruction
from mola_core.nets.video_diffusion import flat_cameras, per_camera

CODERS = ("autoencoder", "vae")
"""What a backbone calls the part that makes latents of pictures."""


@dataclass(frozen=True)
class Part:
    """A module of the model."""

    name: str
    kind: str
    """Its class."""
    parameters: int
    gives: str
    """Shapes of what comes out, for one observation."""


@dataclass(frozen=True)
class Work:
    """One step of an inference, all cameras together, one observation."""

    name: str
    tflop: float
    """A multiplication and an addition are two."""
    every_inference: bool
    """Whether acting needs it, rather than people or training."""


@dataclass(frozen=True)
class Survey:
    parts: tuple[Part, ...]
    works: tuple[Work, ...]

    @property
    def parameters(self) -> int:
        return sum(part.parameters for part in self.parts)

    @property
    def tflop(self) -> float:
        """Of one inference."""
        return sum(work.tflop for work in self.works if work.every_inference)


def survey(config: MolaConfig) -> Survey:
    """Parts and work of ``config``, for one observation and one denoising step of the imagination."""
    with FakeTensorMode(), torch.no_grad():
        model = build_mola(config).eval().requires_grad_(False)
        return Survey(parts=_parts(model), works=_works(model))


def _parts(model: Mola) -> tuple[Part, ...]:
    backbone, tokens, mixture, visual = model.backbone, model.tokens, model.mixture, model.visual
    parts = []
    if backbone is not None:
        frames, (width, rows, columns) = backbone.num_frames, backbone.feature_shape
        features = f"features {frames} x {width} x {rows} x {columns} a camera"
        latents = " x ".join(map(str, backbone.latent_shape))
        coder = next(name for name in CODERS if hasattr(backbone, name))
        coding = _part(f"backbone.{coder}", getattr(backbone, coder), gives=f"latents {latents}")
        whole = _part("backbone", backbone, gives=features)
        parts += [replace(whole, parameters=whole.parameters - coding.parameters), coding]
    parts.append(_part("visual", visual, gives=f"{visual.num_tokens} tokens of {visual.width}"))
    if tokens is not None and mixture is not None:
        parts.append(_part("tokens", tokens, gives=f"2 x {tokens.num_tokens} tokens of {tokens.width}"))
        each = f"{mixture.num_queries} latent actions of {mixture.width}"
        parts += [_part(f"mixture.{name}", member, gives=each) for name, member in mixture.members.items()]
    chunk = f"{model.config.horizon} actions of {model.config.action_size}"
    parts.append(_part("head", model.head, gives=chunk))
    return tuple(part for part in parts if part.parameters)


def _part(name: str, module: nn.Module, *, gives: str) -> Part:
    own = sum(parameter.numel() for parameter in module.parameters())
    return Part(name=name, kind=type(module).__name__, parameters=own, gives=gives)


def _works(model: Mola) -> tuple[Work, ...]:
    observation = _observation(model)
    works: list[Work] = []
    imagination = None
    if model.backbone is not None:
        imagination = _imagining(model, model.backbone, observation, works)
    if model.mixture is not None and imagination is not None:
        mixture, seen = model.mixture, imagination
        transition = model.transition(observation.images, imagination=seen)
        works.append(_counted("inverse dynamics", lambda: mixture(transition)))
    conditioned = model.condition(observation, imagination=imagination).head
    visual = model.visual
    if isinstance(visual, ImageEncoder):
        works.append(_counted("image encoder", lambda: visual(observation.images)))
    elif imagination is not None:
        known = imagination
        works.append(_counted("visual tokens", lambda: model.visual_tokens(observation, known)))
    noise = torch.randn(1, model.config.horizon, model.config.action_size)
    steps = model.head.default_steps
    name = f"action head, {steps} steps" if steps > 1 else "action head"
    works.append(_counted(name, lambda: model.head.sample(conditioned, noise=noise, steps=steps)))
    return tuple(works)


def _imagining(model: Mola, backbone: Backbone, observation: NetObservation, works: list[Work]) -> Imagination:
    cameras = model.config.num_cameras
    pictures = flat_cameras(observation.images)[:, None]
    present = backbone.encode(pictures)[:, 0]
    noisy = torch.randn(cameras, backbone.num_frames, *backbone.latent_shape)
    instruction = per_camera(observation.instruction, cameras=cameras)
    camera = model.camera_numbers(1, device=noisy.device)

    def run(*, features_only: bool) -> object:
        sigma = torch.full((cameras,), backbone.sigma_max)
        return backbone.denoise(
            noisy,
            sigma=sigma,
            present=present,
            camera=camera,
            instruction=instruction,
            features_only=features_only,
        )

    part = _counted("video network, to the features", lambda: run(features_only=True))
    whole = _counted("", lambda: run(features_only=False))
    rest = whole.tflop - part.tflop
    works.append(_counted("encode the pictures", lambda: backbone.encode(pictures)))
    works.append(part)
    works.append(Work(name="video network, the rest", tflop=rest, every_inference=model.needs_latents))
    works.append(_counted("decode all frames", lambda: backbone.decode(noisy), every_inference=False))
    imagination = Imagination(
        features=torch.randn(1, cameras, backbone.num_frames, *backbone.feature_shape), latents=noisy[None]
    )
    if model.needs_latents:
        works.append(
            _counted("pictures to tokens", lambda: model.transition(observation.images, imagination=imagination))
        )
    return imagination


def _counted(name: str, run: Callable[[], object], *, every_inference: bool = True) -> Work:
    with FlopCounterMode(display=False) as counter:
        run()
    return Work(name=name, tflop=counter.get_total_flops() / 1e12, every_inference=every_inference)


def _observation(model: Mola) -> NetObservation:
    config, language = model.config, model.config.language
    view = config.backbone or config.visual
    if not hasattr(view, "height"):
        raise ValueError(f"nothing says how large the views of {view} are")
    words = Instruction(
        tokens=torch.randn(1, language.length, language.token_width),
        mask=torch.ones(1, language.length, dtype=torch.bool),
        pooled=torch.randn(1, language.pooled_width),
    )
    state: Tensor | None = torch.randn(1, config.state_size) if config.state_size else None
    images = torch.rand(1, config.num_cameras, 3, view.height, view.width)
    return NetObservation(images=images, instruction=words, state=state)
