"""What is wrong with data, and where."""

from pathlib import Path

from mola_core.contracts.errors import MolaError


class DataError(MolaError):
    """A dataset, or one file of it, cannot be used."""

    exit_code = 4


class BadFileError(DataError):
    """One file is damaged or does not say what its format promises."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}; repair or remove it, or skip bad files on purpose (skip_bad)")
        self.path = path
        self.reason = reason
