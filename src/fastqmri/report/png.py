"""Pictures with exact colours: palette PNG, a byte a voxel."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TRUE_COLOUR, _PALETTE = 2, 3


def encode(pixels: NDArray[np.uint8], palette: NDArray[np.float64] | None = None) -> bytes:
    """PNG of (row, column) palette entries, or of (row, column, 3) red, green, blue.

    Args:
        pixels: 0 to 255.
        palette: (entry, 3) in 0 to 1, up to 256 entries; None for true colour.
    """
    rows, columns = pixels.shape[:2]
    kind = _TRUE_COLOUR if palette is None else _PALETTE
    header = struct.pack(">IIBBBBB", columns, rows, 8, kind, 0, 0, 0)
    scanlines = np.concatenate([np.zeros((rows, 1), np.uint8), pixels.reshape(rows, -1)], axis=1)
    chunks = [_chunk(b"IHDR", header)]
    if palette is not None:
        chunks.append(_chunk(b"PLTE", np.round(palette * 255).astype(np.uint8).tobytes()))
    chunks += [_chunk(b"IDAT", zlib.compress(scanlines.tobytes(), 9)), _chunk(b"IEND", b"")]
    return _SIGNATURE + b"".join(chunks)


def data_uri(png: bytes) -> str:
    """A PNG as an address that needs no file and no network."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
