"""What export and the making of bundles refuse."""

from mola_core.contracts.errors import MolaError


class ExportError(MolaError):
    """A model cannot be exported, or what came out is not what torch computes."""

    exit_code = 2
