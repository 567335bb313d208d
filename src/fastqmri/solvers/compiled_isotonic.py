"""Compiled pooling of adjacent violators, row by row; the form in `isotonic` is its oracle."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def non_increasing(rows, out):
    """Write the nearest sequence that never rises of every row (row, element) to ``out``."""
    count = rows.shape[1]
    sums = np.empty(count)
    lengths = np.empty(count, np.int64)
    for row in range(rows.shape[0]):
        blocks = 0
        for i in range(count):
            sums[blocks] = rows[row, i]
            lengths[blocks] = 1
            blocks += 1
            while (
                blocks > 1 and sums[blocks - 2] * lengths[blocks - 1] < sums[blocks - 1] * lengths[blocks - 2]
            ):
                sums[blocks - 2] += sums[blocks - 1]
                lengths[blocks - 2] += lengths[blocks - 1]
                blocks -= 1
        place = 0
        for block in range(blocks):
            mean = sums[block] / lengths[block]
            for _ in range(lengths[block]):
                out[row, place] = mean
                place += 1
