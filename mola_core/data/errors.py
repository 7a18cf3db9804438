"""What is wrong with data, and where."""

from pathlib import Path

from mola_core.contracts.errors import MolaError


class DataError(MolaError):
    """A dataset, or one file of it, cannot be used."""

    exit_code = 4


class BadFileError(DataError):
    """One file is damaged or does not say what its format promises."""

    advice = "repair or remove it"

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}; {self.advice}")
        self.path = path
        self.reason = reason

    def __reduce__(self) -> tuple[type["BadFileError"], tuple[Path, str]]:
        return type(self), (self.path, self.reason)


class BadSourceFileError(BadFileError):
    """A bad file of a foreign dataset, of which the rest can be used without it.

    Files whose damage shows on opening a dataset are left out where that is asked for; of others it shows when their pictures or
    numbers are read, and they must be taken away first.
    """

    advice = "repair it, or take it away; --skip-bad leaves out what is bad or missing"
