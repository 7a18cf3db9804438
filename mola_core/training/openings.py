"""How demonstrations begin, shown more often than they are many."""

from collections.abc import Sequence

import numpy as np

from mola_core.contracts.errors import ConfigError
from mola_core.training.datasets import Chosen, Joined, mixed
from mola_core.training.demonstrations import policy_window
from mola_core.training.order import Share
from mola_core.training.recipe import PolicyStage
from mola_core.training.rows import rows_of
from mola_core.training.stage import BatchSource
from mola_core.training.workbench import Workbench


def with_openings(
    sources: Sequence[BatchSource], spec: PolicyStage, bench: Workbench
) -> tuple[Joined, tuple[Share, ...]]:
    """All demonstrations by their weights, and their openings once more where they have a share of their own.

    Raises:
        ConfigError: openings are asked for, and the demonstrations have none.
    """
    weights = [part.weight for part in bench.parts]
    if spec.openings is None:
        return mixed(sources, weights)
    window, rows, share = policy_window(bench.recipe.io), spec.openings.rows, spec.openings.share
    openings = [
        Chosen(source, np.flatnonzero(rows_of(part.open(window, "train")).row < rows))
        for source, part in zip(sources, bench.parts, strict=True)
    ]
    require_openings([len(opening) for opening in openings], rows=rows)
    # where a policy led first, what it did there is not imitated: such a dataset has none
    having = [(opening, weight) for opening, weight in zip(openings, weights, strict=True) if len(opening)]
    scale = share / (1.0 - share) * sum(weights) / sum(weight for _, weight in having)
    again = [weight * scale for _, weight in having]
    return mixed([*sources, *(opening for opening, _ in having)], [*weights, *again])


def require_openings(counts: Sequence[int], *, rows: int) -> None:
    """Refuse demonstrations none of whose samples is among the first ``rows`` of its episode; ``counts`` are by dataset.

    Raises:
        ConfigError: so it is.
    """
    if not any(counts):
        raise ConfigError(
            f"no row of the demonstrations is among the first {rows} of its episode; set policy.openings=null"
        )
