"""What is wrong with a dataset, in one line that names the file."""

from mola_core.contracts.errors import MolaError


class DatasetError(MolaError):
    """A dataset is missing, exists already, is damaged, or is fed something that its contract forbids."""

    exit_code = 2
