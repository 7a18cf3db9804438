"""How an episode starts: where everything lies, what it looks like, what is asked. A pure function of (task, seed, variant).

The placement depends on the seed alone: every task of one seed starts from the same scene, so that only the instruction
says what to do. Variants draw from a generator of their own and leave the placement as it is.
"""

from dataclasses import dataclass

import numpy as np

from mola_core.contracts.errors import ConfigError
from mola_twin.tasks import placement, variants
from mola_twin.tasks.instructions import task_spec
from mola_twin.tasks.placement import Placement
from mola_twin.tasks.variants import VARIANTS, Appearance

TRAIN_BLOCK_COLOURS = ("red", "green", "blue")


@dataclass(frozen=True)
class SceneStart:
    """Everything that distinguishes one start from another."""

    task: str
    seed: int
    variant: str
    instruction: str
    stack_top: str
    """Object name of the block that the stacking task picks up."""
    stack_bottom: str
    placement: Placement
    appearance: Appearance


def sample_start(*, task: str, seed: int, variant: str = "id") -> SceneStart:
    """The start of ``task`` for ``seed`` (>= 0) in ``variant``; the same arguments give the same start, bit for bit.

    Raises:
        ConfigError: unknown task or variant, or a negative seed.
    """
    spec = task_spec(task)
    if variant not in VARIANTS:
        raise ConfigError(f"variant {variant!r} is not known; choose one of {', '.join(VARIANTS)}")
    if seed < 0:
        raise ConfigError(f"seed {seed} is negative; use 0 or larger")
    rng = np.random.default_rng(seed)
    top, bottom = rng.choice(3, size=2, replace=False)
    phrasing = int(rng.integers(1 << 16))
    scene = placement.sample_placement(rng)
    appearance = variants.sample_appearance(variant=variant, seed=seed)
    if variant == "distractors":
        scene = placement.with_distractors(scene, rng=variants.variant_rng(variant=variant, seed=seed))
    blocks = placement.BLOCKS
    names = {"top": appearance.block_names[int(top)], "bottom": appearance.block_names[int(bottom)]}
    return SceneStart(
        task=task,
        seed=seed,
        variant=variant,
        instruction=spec.phrase(index=phrasing, held_out=variant == "phrasing", names=names),
        stack_top=blocks[int(top)],
        stack_bottom=blocks[int(bottom)],
        placement=scene,
        appearance=appearance,
    )
