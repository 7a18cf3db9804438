"""A picture of how evenly a mixture's codes are used."""

import numpy as np
from jaxtyping import UInt8

from mola_core.nets.mola import Mola
from mola_core.training.samples import bars


def code_usage(model: Mola) -> UInt8[np.ndarray, "height width 3"]:
    """How often each code of each member is chosen, most used first."""
    usage = {} if model.mixture is None else model.mixture.code_usage()
    if not usage:
        return np.full((16, 64, 3), 255, np.uint8)
    return bars({name: codes.shares.cpu().numpy() for name, codes in usage.items()})
