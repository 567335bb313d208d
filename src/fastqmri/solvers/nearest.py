"""Nearest neighbours among many points: a tree of bounding boxes, exact; or groups, approximate."""

from __future__ import annotations

import functools
import itertools
import logging
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import numpy.typing as npt

from fastqmri.solvers import dispatch

Array = npt.NDArray
_LOG = logging.getLogger(__name__)
_LEAF = 32
_LEAST = 512


@functools.cache
def kernels() -> ModuleType | None:
    """The compiled search, or None where numba is not installed or refuses to work."""
    try:
        from fastqmri.solvers import compiled_nearest
    except (ImportError, RuntimeError) as error:
        _LOG.warning("the compiled search is unavailable (%s): every point is compared", error)
        return None
    return compiled_nearest


def halved(points: Array, parts: int) -> Array:
    """Order points so that cutting the order into ``parts`` equal pieces, a power of two, gives compact pieces.

    Every piece is halved in turn across its widest direction.

    Args:
        points: (point, dimension).
        parts: a power of two.

    Returns:
        (point) numbers in order.
    """
    order = np.arange(len(points))
    edges = np.array([0, len(points)])
    while len(edges) <= parts:
        middles = []
        for begin, end in itertools.pairwise(edges):
            middle = begin + (end - begin) // 2
            middles.append(middle)
            if end - begin < 2:
                continue
            piece = points[order[begin:end]]
            widest = int((piece.max(0) - piece.min(0)).argmax())
            place = np.argpartition(piece[:, widest], middle - begin, kind="introselect")
            order[begin:end] = order[begin:end][place]
        edges = np.sort(np.concatenate([edges, middles]))
    return order


def _pieces(count: int, parts: int) -> Array:
    """Edges of the pieces that `halved` makes."""
    edges = np.array([0, count])
    while len(edges) <= parts:
        edges = np.sort(np.concatenate([edges, edges[:-1] + np.diff(edges) // 2]))
    return edges


@dataclass(frozen=True)
class Groups:
    """Points in compact groups of nearly equal size.

    Attributes:
        points: (group, dimension, slot), free slots at infinity.
        members: (group, slot) number of each point, -1 in free slots.
        means: (dimension, group).
    """

    points: Array
    members: Array
    means: Array

    @classmethod
    def of(cls, points: Array, size: int) -> Groups:
        """Groups of at most ``size`` of the points, (point, dimension)."""
        parts = 1
        while -(-len(points) // parts) > size:
            parts *= 2
        order, edges = halved(points, parts), _pieces(len(points), parts)
        width = int(np.diff(edges).max())
        slots = np.full((parts, points.shape[1], width), np.inf, points.dtype)
        members = np.full((parts, width), -1, np.int64)
        means = np.empty((points.shape[1], parts), points.dtype)
        for i, (begin, end) in enumerate(itertools.pairwise(edges)):
            numbers = np.sort(order[begin:end])
            slots[i, :, : end - begin] = points[numbers].T
            members[i, : end - begin] = numbers
            means[:, i] = points[numbers].mean(0) if len(numbers) else np.inf
        return cls(slots, members, means)

    def nearest(self, queries: Array, keep: int) -> Array:
        """The nearest point in the ``keep`` groups with the nearest means, (query) of (query, dimension)."""
        compiled = kernels()
        keep = max(1, min(keep, self.means.shape[1]))
        found = np.empty(len(queries), np.int64)
        if compiled is None:
            for i, query in enumerate(queries):
                groups = ((self.means - query[:, None]) ** 2).sum(0).argsort(kind="stable")[:keep]
                away = ((self.points[groups] - query[:, None]) ** 2).sum(1)
                found[i] = self.members[groups].ravel()[int(away.ravel().argmin())]
            return found
        run = functools.partial(compiled.in_groups, queries, self.points, self.members, self.means, keep)
        dispatch.spread(lambda begin, end: run(begin, end, found), len(queries), lanes=1, least=_LEAST)
        return found


@dataclass(frozen=True)
class Tree:
    """Points in leaves, the leaves in boxes, eight boxes a node.

    What lies off the surface that the points form, noise above all, is as far from every box: boxes around the
    points themselves prune where the splitting planes of a k-d tree do not.

    Attributes:
        leaves: the points by leaf.
        low: (node, dimension, box).
        high: (node, dimension, box).
        levels: first node of every level, the leaves' boxes first, and the number of nodes.
    """

    leaves: Groups
    low: Array
    high: Array
    levels: Array

    @classmethod
    def of(cls, points: Array, leaf: int = _LEAF) -> Tree:
        """A tree of the points, (point, dimension), at most ``leaf`` in a leaf."""
        compiled = kernels()
        width = 8 if compiled is None else compiled.WIDTH
        leaves = Groups.of(points, leaf)
        taken = leaves.members[:, None] >= 0
        low = np.where(taken, leaves.points, np.inf).min(2)
        high = np.where(taken, leaves.points, -np.inf).max(2)
        lows, highs, levels = [], [], [0]
        while True:
            missing = -len(low) % width
            empty = np.full((missing, low.shape[1]), np.inf, low.dtype)
            low, high = np.concatenate([low, empty]), np.concatenate([high, empty])
            grouped_low = low.reshape(-1, width, low.shape[1]).transpose(0, 2, 1)
            grouped_high = high.reshape(-1, width, high.shape[1]).transpose(0, 2, 1)
            lows.append(grouped_low)
            highs.append(grouped_high)
            levels.append(levels[-1] + len(grouped_low))
            if len(grouped_low) == 1:
                break
            low = grouped_low.min(2)
            high = np.where(np.isinf(grouped_high), -np.inf, grouped_high).max(2)
        return cls(
            leaves,
            np.ascontiguousarray(np.concatenate(lows)),
            np.ascontiguousarray(np.concatenate(highs)),
            np.array(levels),
        )

    def nearest(self, queries: Array, margins: Array) -> tuple[Array, Array]:
        """Candidates for the nearest point of every query, the nearest first.

        Args:
            queries: (query, dimension).
            margins: (query) squared distance by which a candidate may be farther than the nearest.

        Returns:
            (query, candidate) numbers and (query) how many there are, one more than fit where there may be too many.
        """
        compiled = kernels()
        assert compiled is not None
        found = np.empty((len(queries), compiled.CANDIDATES), np.int64)
        counts = np.empty(len(queries), np.int64)
        run = functools.partial(
            compiled.nearest,
            np.ascontiguousarray(queries),
            np.ascontiguousarray(margins),
            self.leaves.points,
            self.leaves.members,
            self.low,
            self.high,
            self.levels,
        )
        dispatch.spread(
            lambda begin, end: run(begin, end, found, counts), len(queries), lanes=1, least=_LEAST
        )
        return found, counts


def best_of(candidates: Array, counts: Array, vectors: Array, data: Array) -> tuple[Array, Array]:
    """The candidate vector with the largest inner product with each query, the first of equals; and that product.

    Args:
        candidates: (query, candidate).
        counts: (query).
        vectors: (vector, sample) of unit norm.
        data: (query, sample).
    """
    compiled = kernels()
    found, products = np.empty(len(data), np.int64), np.empty(len(data))
    if compiled is None:
        for i, (numbers, count) in enumerate(zip(candidates, counts, strict=True)):
            scores = vectors[numbers[:count]].astype(np.float64) @ data[i]
            ties = numbers[:count][scores == scores.max()]
            found[i], products[i] = ties.min(), scores.max()
        return found, products
    run = functools.partial(compiled.best_of, candidates, counts, vectors, data)
    dispatch.spread(lambda begin, end: run(begin, end, found, products), len(data), lanes=1, least=_LEAST)
    return found, products
