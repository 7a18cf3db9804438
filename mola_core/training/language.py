"""The sentence encoder of a checkpoint: another one would give the same words other numbers, which nothing else would notice."""

from pathlib import Path

from mola_core.nets.language import build_encoder
from mola_core.runtime.language import SentenceEncoder, require_option
from mola_core.training.checkpoint import Checkpoint, CheckpointError


def encoder_of(checkpoint: Checkpoint, *, weights: Path | None = None) -> SentenceEncoder:
    """The encoder that ``checkpoint`` was trained with; ``weights`` is the folder of CLIP's or UMT5's, where it is one of them.

    Raises:
        CheckpointError: it is another one.
        ConfigError: the weights cannot be loaded, or there is no use for them.
    """
    language = checkpoint.recipe.model.language
    require_option(language.encoder, weights=weights)
    encoder = build_encoder(language, weights=weights)
    require_encoder(checkpoint, encoder.digest)
    return encoder


def require_encoder(checkpoint: Checkpoint, digest: str | None) -> None:
    """Refuse the encoder of ``digest`` where ``checkpoint`` is known to have been trained with another one.

    Raises:
        CheckpointError: so it is.
    """
    known = checkpoint.language_digest
    if known is None or digest is None or digest == known:
        return
    language = checkpoint.recipe.model.language
    cure = (
        "install the version of it that the lock names"
        if language.encoder == "minilm"
        else "give the folder of the weights it was trained with: --language-weights FOLDER"
    )
    raise CheckpointError(
        f"{checkpoint.path} was trained with sentence encoder {known} ({language.encoder}, {language.length} tokens), this one is "
        f"{digest}; {cure}"
    )
