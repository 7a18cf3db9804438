"""A recipe's model with random weights: as fast and as large as a trained one, and of no other use."""

import numpy as np
import torch

from mola_core.contracts.errors import ConfigError
from mola_core.contracts.normalization import Normalization, Scaling
from mola_core.export.exporting import Exportable
from mola_core.nets.config import LanguageConfig
from mola_core.nets.language import build_encoder
from mola_core.nets.mola import build_mola
from mola_core.runtime.language import EncodedInstruction, RememberingEncoder, SentenceEncoder
from mola_core.training.recipes.full import full
from mola_core.training.recipes.twin import twin
from mola_core.training.recipes.twin_tiny import twin_tiny

_RECIPES = {"full": full, "twin": twin, "twin-tiny": twin_tiny}


class RandomEncoder:
    """Numbers of the right shapes for any sentence; for models whose encoder's weights are not at hand."""

    digest = "random"

    def __init__(self, config: LanguageConfig) -> None:
        self._config = config

    def encode(self, instruction: str) -> EncodedInstruction:
        """See :class:`~mola_core.runtime.language.SentenceEncoder`."""
        rng = np.random.default_rng(list(instruction.encode()))
        config = self._config
        return EncodedInstruction(
            tokens=rng.standard_normal((config.length, config.token_width), dtype=np.float32),
            mask=np.ones(config.length, dtype=bool),
            pooled=rng.standard_normal(config.pooled_width, dtype=np.float32),
        )


def random_model(recipe: str, *, device: str = "cpu", seed: int = 0) -> Exportable:
    """The model of ``recipe``, on ``device``.

    Raises:
        ConfigError: no such recipe.
    """
    if recipe not in _RECIPES:
        raise ConfigError(f"recipe {recipe!r} is not known; choose from {', '.join(_RECIPES)}")
    chosen = _RECIPES[recipe]()
    torch.manual_seed(seed)
    with torch.device(device):
        mola = build_mola(chosen.model)
    size = len(chosen.io.contract.state), len(chosen.io.contract.action)
    return Exportable(
        mola=mola,
        io=chosen.io,
        normalization=Normalization(
            state=Scaling(offset=(0.0,) * size[0], scale=(1.0,) * size[0]),
            action=Scaling(offset=(0.0,) * size[1], scale=(0.01,) * size[1]),
        ),
        language=_encoder(chosen.model.language),
        training={"recipe": chosen.name, "random_weights": True},
    )


def _encoder(config: LanguageConfig) -> SentenceEncoder:
    """The real one where it comes with the project, else one of its shapes."""
    return build_encoder(config) if config.encoder == "minilm" else RememberingEncoder(RandomEncoder(config))
