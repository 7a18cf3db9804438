"""Writing a PNG without an image library: the twin needs none for anything else."""

import struct
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from mola_core.contracts.errors import ConfigError


def write_png(path: Path, image: UInt8[np.ndarray, "height width 3"]) -> None:
    """Write an RGB image.

    Raises:
        ConfigError: the file cannot be written.
    """
    height, width, _ = image.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), image.reshape(height, -1)], axis=1)  # filter 0 for each row
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 6)), (b"IEND", b""))
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    try:
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    except OSError as error:
        raise ConfigError(f"picture {path} cannot be written ({error.strerror}); choose another --out") from error
