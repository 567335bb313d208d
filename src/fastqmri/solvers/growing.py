"""Whole turns that make a wrapped quantity smooth, found by growing regions along the best edges."""

from __future__ import annotations

import functools
import heapq
import logging
import math
from types import ModuleType

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fastqmri.solvers import dispatch

_LOG = logging.getLogger(__name__)
BEST = 255
"""Highest quality of an edge; 0 is no edge at all."""


@functools.cache
def kernels() -> ModuleType | None:
    """The compiled growth, or None where numba is not installed or refuses to work."""
    try:
        from fastqmri.solvers import compiled_growing
    except (ImportError, RuntimeError) as error:
        _LOG.warning("compiled region growing is unavailable (%s): using the slow form", error)
        return None
    return compiled_growing


def grow(phase: Tensor, inside: Tensor, quality: Tensor) -> tuple[Tensor, Tensor]:
    """Whole turns that bring every voxel nearest to its neighbour across the best edge.

    The edges used are the spanning forest of highest quality, found as by Prim; so no edge is crossed while a
    better one would lead to the same voxel.

    Source: Dymerska 2021.

    Args:
        phase: (x, y, z) in rad.
        inside: (x, y, z) bool.
        quality: (3, x, y, z) uint8, of the edge from each voxel to its next along each axis, `BEST` the best and 0
            none; edges that leave ``inside`` must be 0.

    Returns:
        Whole turns to add (x, y, z) int32; and the number of each voxel's connected region from 1, int32, 0 outside.
    """
    arrays = (
        (phase.detach().double() / (2 * math.pi)).contiguous().numpy(),
        inside.contiguous().numpy(),
        quality.contiguous().numpy(),
    )
    turns, region = np.zeros(phase.shape, np.int32), np.zeros(phase.shape, np.int32)
    compiled = kernels()
    if compiled is None:
        grow_plainly(*arrays, turns, region)
    else:
        dispatch.announce(compiled.grow)
        compiled.grow(*arrays, turns, region)
    return torch.from_numpy(turns), torch.from_numpy(region)


def grow_plainly(
    phase: npt.NDArray[np.float64],
    inside: npt.NDArray[np.bool_],
    quality: npt.NDArray[np.uint8],
    turns: npt.NDArray[np.int32],
    region: npt.NDArray[np.int32],
) -> int:
    """The same as the compiled kernel, with a heap; arguments as there."""
    regions = 0
    for seed in zip(*np.nonzero(inside), strict=True):
        if region[seed]:
            continue
        regions += 1
        region[seed] = regions
        waiting: list[tuple[int, tuple[int, ...], tuple[int, ...]]] = []
        newest = tuple(int(i) for i in seed)
        while True:
            for axis in range(3):
                for step in (1, -1):
                    other = (*newest[:axis], newest[axis] + step, *newest[axis + 1 :])
                    if not 0 <= other[axis] < phase.shape[axis] or region[other]:
                        continue
                    worth = int(quality[(axis, *min(newest, other))])
                    if worth:
                        heapq.heappush(waiting, (-worth, newest, other))
            while waiting and region[waiting[0][2]]:
                heapq.heappop(waiting)
            if not waiting:
                break
            _, old, newest = heapq.heappop(waiting)
            turns[newest] = math.floor(phase[old] + turns[old] - phase[newest] + 0.5)
            region[newest] = regions
    return regions
