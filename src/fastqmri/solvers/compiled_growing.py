"""Compiled growth of regions along the best edges of a grid; `growing` holds the plain form, its oracle."""

from __future__ import annotations

import numpy as np
from numba import njit

_QUALITIES = 256


@njit(nogil=True, cache=True)
def grow(phase, inside, quality, turns, region):
    """Visit every voxel along the edges of highest quality, and count whole turns on the way.

    Edges wait in one list for each quality, so that none is ever sorted.

    Args:
        phase: (x, y, z) in turns.
        inside: (x, y, z) bool.
        quality: (3, x, y, z) uint8, of the edge from each voxel to its next along each axis; 0 is no edge.
        turns: (x, y, z) int32, filled with whole turns to add.
        region: (x, y, z) int32 zeros, filled with the number of the connected region.

    Returns:
        The number of regions.
    """
    shape = phase.shape
    count = phase.size
    steps = (shape[1] * shape[2], shape[2], 1)
    values, within, numbers, labels = phase.ravel(), inside.ravel(), turns.ravel(), region.ravel()
    edges = quality.ravel()
    head = np.full(_QUALITIES, -1, np.int64)
    following = np.empty(3 * count, np.int64)
    regions = 0
    for seed in range(count):
        if not within[seed] or labels[seed]:
            continue
        regions += 1
        labels[seed], numbers[seed] = regions, 0
        newest, top = seed, 0
        while True:
            for axis in range(3):
                step = steps[axis]
                place = newest // step % shape[axis]
                edge = axis * count + newest
                if place + 1 < shape[axis] and edges[edge] and not labels[newest + step]:
                    following[edge], head[edges[edge]] = head[edges[edge]], edge
                    top = max(top, edges[edge])
                edge -= step
                if place > 0 and edges[edge] and not labels[newest - step]:
                    following[edge], head[edges[edge]] = head[edges[edge]], edge
                    top = max(top, edges[edge])
            found = False
            while top > 0:
                edge = head[top]
                if edge < 0:
                    top -= 1
                    continue
                head[top] = following[edge]
                low = edge % count
                high = low + steps[edge // count]
                if labels[low] and labels[high]:
                    continue
                old, newest = (low, high) if labels[low] else (high, low)
                gap = values[old] + numbers[old] - values[newest]
                numbers[newest] = np.int32(np.floor(gap + 0.5))
                labels[newest] = regions
                found = True
                break
            if not found:
                break
    return regions
