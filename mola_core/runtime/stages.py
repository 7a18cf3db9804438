"""The stages a policy is cut into, and the names of what passes between them.

    encoder  images → present                                     once a frame
    video    present, instruction, video_noise → features (latents)   the large one: up to the taps
    actor    features, state, instruction, action_noise → actions, codes, latent actions
    preview  present, instruction, video_noise → frames           for people, never on the control path

An *instruction* is three tensors. There is no batch axis: a robot asks one question at a time. A policy without imagination is an
actor alone. Letters of shapes as in :mod:`mola_core.nets.protocols`.
"""

from mola_core.contracts.bundle import Stage as Stage  # noqa: PLC0414  # here is where everybody looks for it

STAGES: tuple[Stage, ...] = ("encoder", "video", "actor", "preview")

IMAGES = "images"
"""C H W 3, uint8 RGB."""
PRESENT = "present"
"""C c h w: latents of the images."""
FEATURES = "features"
"""C T F h w; frame 0 is the present."""
LATENTS = "latents"
"""C T c h w: the clean guess; only where the actor reads pixels."""
STATE = "state"
"""S, normalised."""
TOKENS, TOKEN_MASK, POOLED = "instruction_tokens", "instruction_mask", "instruction_pooled"
"""L D; L; P."""
VIDEO_NOISE, ACTION_NOISE = "video_noise", "action_noise"
"""C T c h w; K A."""
GAINS = "modality_gains"
"""M: 1 for a modality in use, 0 for one switched off."""
PREFIX_ACTIONS, PREFIX_SETTLED = "prefix_actions", "prefix_settled"
"""K A, normalised; K, true for the first rows that are settled: they will have been executed by the time the chunk arrives."""
ACTIONS = "actions"
"""K A, normalised."""
FRAMES = "frames"
"""C T H W 3, uint8 RGB."""


def codes_of(modality: str) -> str:
    """Name of the tensor of code indices: Q, int64."""
    return f"codes_{modality}"


def latent_actions_of(modality: str) -> str:
    """Name of the tensor of latent actions: Q D."""
    return f"latent_actions_{modality}"
