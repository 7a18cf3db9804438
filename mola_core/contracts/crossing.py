"""What crosses from imagination to policy, and whether the graph carries it where the two run in processes of their own."""

import math

import numpy as np

from mola_core.contracts.bundle import Manifest

MESSAGE_BYTES = 8 << 20
"""What the graph carries in one piece: ``maxMessageSize`` in ``launch/dds/fastdds.xml``."""


def crossing_bytes(manifest: Manifest) -> int:
    """Of all tensors that one foresight hands over."""
    crossing = [record for record in manifest.stages["actor"].inputs if record.name in manifest.passes_on]
    return sum(math.prod(record.shape) * np.dtype(record.dtype).itemsize for record in crossing)


def why_together(manifest: Manifest) -> str:
    """Why both halves belong in one process; empty where they may run in two.

    What is larger than a message is cut into pieces that overwrite each other in a segment of shared memory and are sent again: 44 MB
    took 0.2 to 0.7 s from process to process on two busy cores, beside 0.01 to 0.02 s for 4 MB.
    """
    crossing = crossing_bytes(manifest)
    if crossing <= MESSAGE_BYTES:
        return ""
    return (
        f"bundle {manifest.bundle_id} hands {crossing / 1e6:.1f} MB from imagination to policy, the graph carries "
        f"{MESSAGE_BYTES / 1e6:.1f} MB in one piece: run both in one process, with composed:=true"
    )
