"""The C library's memory, set for programs that free and ask for the same large blocks in every step."""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Numbers of glibc's ``mallopt``."""
_LARGEST_IN_HEAP = 32 * 2**20
"""The most that glibc takes for the second."""
_KEPT = 2**31 - 1


def keep_freed_memory() -> bool:
    """Freed blocks stay with the process instead of going back to the system, which would have to clear them again; whether it worked.

    A training step on a CPU allocates hundreds of megabytes piece by piece: with glibc's own settings every piece is mapped, cleared
    page by page and unmapped again. Does nothing where the C library is another.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST_IN_HEAP)) and bool(mallopt(_TRIM_THRESHOLD, _KEPT))
