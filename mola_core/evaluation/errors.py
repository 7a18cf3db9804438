"""What an evaluation refuses."""

from mola_core.contracts.errors import MolaError


class EvaluationError(MolaError):
    """An evaluation that cannot mean what was asked."""

    exit_code = 2
