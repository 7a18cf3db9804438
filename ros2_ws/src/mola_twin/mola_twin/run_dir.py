"""Where the processes of one twin find each other's shared records."""

from pathlib import Path


def default_run_dir(host: str) -> Path:
    """One directory a host, in memory, so that several twins can run side by side."""
    return Path("/dev/shm") / f"mola-twin-{host}"  # noqa: S108
