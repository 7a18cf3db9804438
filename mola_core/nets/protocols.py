"""What the training stages, the evaluation and the export need of a network, whatever is inside it.

Letters used in shapes, here and throughout ``mola_core.nets``:

- B batch, C cameras, T imagined frames, H W pixels, h w cells of the latent or feature grid;
- L tokens of the instruction, N tokens of a picture, Q latent-action queries, M modalities (semantic, depth, flow);
- K rows of an action chunk, A numbers in a row, S numbers in a state, D a network's width.

Pictures are float in [-1, 1], channels before height and width. Masks are boolean, true where there is something.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Instruction:
    """An encoded instruction."""

    tokens: Float[Tensor, "B L D"]
    mask: Bool[Tensor, "B L"]
    pooled: Float[Tensor, "B P"]
    """The sentence as one vector."""


@dataclass(frozen=True)
class Denoised:
    """What one pass through a video network gives."""

    clean: Float[Tensor, "B T c h w"] | None
    """Its guess at the clean latents of the future; None where only features were asked for."""
    features: Float[Tensor, "B T F h w"]
    """Predictive features, tapped inside the network."""


class VideoBackbone(Protocol):
    """A video diffusion model: frames to latents and back, and one denoising pass.

    Noise is added as ``noisy = clean + sigma * noise`` (variance exploding, as in EDM and SVD); whatever scaling the
    network itself needs it does inside. Each camera is a batch item of its own.
    """

    num_frames: int
    """T; frame 0 is the present."""
    latent_shape: tuple[int, int, int]
    """c, h, w."""
    feature_shape: tuple[int, int, int]
    """F and the grid of the tapped features."""
    sigma_max: float
    """Where one-step imagination starts."""
    sigma_data: float
    """Standard deviation of the latents."""

    def encode(self, frames: Float[Tensor, "B T 3 H W"]) -> Float[Tensor, "B T c h w"]: ...

    def decode(self, latents: Float[Tensor, "B T c h w"]) -> Float[Tensor, "B T 3 H W"]: ...

    def denoise(
        self,
        noisy: Float[Tensor, "B T c h w"],
        *,
        sigma: Float[Tensor, "B"],
        present: Float[Tensor, "B c h w"],
        camera: Int[Tensor, "B"],
        instruction: Instruction,
        features_only: bool = False,
    ) -> Denoised:
        """One pass, conditioned on the current picture of camera number ``camera`` and on the instruction.

        ``present`` is what ``encode`` gives of that picture; the instruction has been repeated for every camera.
        """
        ...


@dataclass(frozen=True)
class LatentActions:
    """What one inverse dynamics model says of the change between two pictures."""

    embeddings: Float[Tensor, "B Q D"]
    """Quantised (straight-through) and projected up: what the action head reads."""
    code_indices: Int[Tensor, "B Q"]
    commitment_loss: Float[Tensor, ""]


class InverseDynamicsModel(Protocol):
    """(tokens now, tokens in the future) → latent actions.

    Where the tokens come from, pixels or projected features, it does not know.
    """

    num_queries: int

    def __call__(self, now: Float[Tensor, "B N D"], future: Float[Tensor, "B N D"]) -> LatentActions: ...


@dataclass(frozen=True)
class HeadCondition:
    """All that the action head is told."""

    latent_actions: Float[Tensor, "B MQ D"]
    """Of all modalities, one after the other; no tokens (MQ = 0) for a head that reads features only."""
    visual: Float[Tensor, "B N D"]
    """Tokens of the video former, all cameras."""
    instruction: Instruction
    state: Float[Tensor, "B S"] | None
    """Normalised proprioception."""


class ItemDraws(Protocol):
    """Random numbers of training, each item's its own: the same in whatever part of a batch it is. A purpose always gives the same."""

    def normal(self, purpose: str, shape: Sequence[int]) -> Float[Tensor, "B *shape"]:
        """Standard normal numbers, float32."""
        ...

    def uniform(self, purpose: str, shape: Sequence[int] = ()) -> Float[Tensor, "B *shape"]:
        """Numbers in [0, 1), float32."""
        ...


class ActionHead(Protocol):
    """A distribution over action chunks. Actions are normalised to about [-1, 1]."""

    def loss(
        self,
        actions: Float[Tensor, "B K A"],
        *,
        mask: Bool[Tensor, "B K"],
        condition: HeadCondition,
        draws: ItemDraws,
        weight: Float[Tensor, "B"] | None = None,
        count: Float[Tensor, ""] | None = None,
    ) -> Float[Tensor, ""]:
        """Mean over the rows that ``mask`` marks as real (a chunk may reach past the end of its episode), each times its sample's
        ``weight``; ``count`` takes the place of their number, see :func:`~mola_core.nets.averages.masked_mean`.
        """
        ...

    def counted(self, mask: Bool[Tensor, "B K"], *, draws: ItemDraws) -> Int[Tensor, ""]:
        """How many things ``loss`` with the same ``draws`` is a mean over."""
        ...

    def sample(self, condition: HeadCondition, *, noise: Float[Tensor, "B K A"], steps: int) -> Float[Tensor, "B K A"]:
        """Deterministic given ``noise``; the loop over ``steps`` is unrolled on export."""
        ...
