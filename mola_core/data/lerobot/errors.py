"""What is wrong with a dataset, in one line that names the file."""

from mola_core.data.errors import DataError


class DatasetError(DataError):
    """A dataset is missing, exists already, is damaged, or is fed something that its contract forbids."""
