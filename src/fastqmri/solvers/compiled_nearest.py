"""Compiled search for nearest neighbours: SIMD over the points of a leaf and over the boxes of a node.

The PyTorch form is the plain distance to every point (`nearest.Tree.exhaustive`), the oracle of these kernels.
"""

from __future__ import annotations

import numpy as np
from numba import njit

WIDTH = 8  # boxes of a node
CANDIDATES = 24  # neighbours kept of one query
_STACK = 256
_MATH = {"reassoc", "contract", "arcp", "nsz"}


@njit(fastmath=_MATH, error_model="numpy")
def _to_boxes(query, low, high, out):
    """Squared distances of a query to the boxes of a node, (dimension, box) each."""
    for b in range(WIDTH):
        out[b] = 0.0
    for d in range(query.shape[0]):
        q = query[d]
        for b in range(WIDTH):
            away = max(max(low[d, b] - q, q - high[d, b]), 0.0)
            out[b] += away * away


@njit(fastmath=_MATH, error_model="numpy")
def _to_points(query, points, out):
    """Squared distances of a query to the points of a leaf, (dimension, point)."""
    for p in range(points.shape[1]):
        out[p] = 0.0
    for d in range(query.shape[0]):
        q = query[d]
        for p in range(points.shape[1]):
            away = q - points[d, p]
            out[p] += away * away


@njit(nogil=True, cache=True, fastmath=_MATH, error_model="numpy")
def nearest(queries, margins, points, members, low, high, levels, begin, end, found, counts):
    """The nearest point of every query, and all others that are hardly farther.

    Args:
        queries: (query, dimension).
        margins: (query) squared distance by which a candidate may be farther than the nearest.
        points: (leaf, dimension, slot), slots without a point at infinity.
        members: (leaf, slot) number of each point.
        low, high: (node, dimension, box) bounding boxes, empty ones at infinity. Those of the first level are of
            the leaves, those of the next of the nodes below.
        levels: first node of every level, and the number of nodes.
        begin, end: queries of this call.
        found: (query, candidate), the nearest first.
        counts: (query) candidates; one more than fit where there may be too many.
    """
    distance = np.empty(points.shape[2], points.dtype)
    to_boxes = np.empty(WIDTH, points.dtype)
    stack_level = np.empty(_STACK, np.int64)
    stack_node = np.empty(_STACK, np.int64)
    stack_distance = np.empty(_STACK, points.dtype)
    kept = np.empty(CANDIDATES, np.int64)
    kept_distance = np.empty(CANDIDATES, points.dtype)
    top = levels.shape[0] - 2
    for i in range(begin, end):
        query, margin = queries[i], margins[i]
        best, nearest_point = np.inf, -1
        count, too_many = 0, False
        depth = 1
        stack_level[0], stack_node[0], stack_distance[0] = top, 0, 0.0
        while depth:
            depth -= 1
            if stack_distance[depth] > best + margin:
                continue
            level, node = stack_level[depth], stack_node[depth]
            if level < 0:
                _to_points(query, points[node], distance)
                for p in range(points.shape[2]):
                    away = distance[p]
                    if away > best + margin:
                        continue
                    number = members[node, p]
                    if number < 0:
                        continue
                    if away < best or (away == best and number < nearest_point):
                        best, nearest_point = away, number
                    if count == CANDIDATES:  # drop those that have become too far
                        place = 0
                        for k in range(count):
                            if kept_distance[k] <= best + margin:
                                kept[place], kept_distance[place] = kept[k], kept_distance[k]
                                place += 1
                        count = place
                    if count == CANDIDATES:
                        too_many = True
                    elif not too_many:
                        kept[count], kept_distance[count] = number, away
                        count += 1
                continue
            _to_boxes(query, low[levels[level] + node], high[levels[level] + node], to_boxes)
            first = depth
            for b in range(WIDTH):
                away = to_boxes[b]
                if away > best + margin:
                    continue
                place = depth
                while place > first and stack_distance[place - 1] < away:  # the nearest box on top
                    stack_level[place] = stack_level[place - 1]
                    stack_node[place] = stack_node[place - 1]
                    stack_distance[place] = stack_distance[place - 1]
                    place -= 1
                stack_level[place], stack_node[place], stack_distance[place] = (
                    level - 1,
                    node * WIDTH + b,
                    away,
                )
                depth += 1
        found[i, 0] = nearest_point
        place = 1
        for k in range(count):
            if kept[k] != nearest_point and kept_distance[k] <= best + margin and place < CANDIDATES:
                found[i, place] = kept[k]
                place += 1
        counts[i] = CANDIDATES + 1 if too_many else place


@njit(nogil=True, cache=True, fastmath=_MATH, error_model="numpy")
def in_groups(queries, points, members, means, keep, begin, end, found):
    """The nearest point among the ``keep`` groups whose means are the nearest.

    Args:
        queries: (query, dimension).
        points: (group, dimension, slot), slots without a point at infinity.
        members: (group, slot).
        means: (dimension, group).
        keep: groups to look into.
        begin, end: queries of this call.
        found: (query).
    """
    distance = np.empty(points.shape[2], points.dtype)
    to_means = np.empty(means.shape[1], points.dtype)
    groups = np.empty(keep, np.int64)
    group_distance = np.empty(keep, points.dtype)
    for i in range(begin, end):
        query = queries[i]
        _to_points(query, means, to_means)
        count = 0
        for g in range(means.shape[1]):
            away = to_means[g]
            if count == keep and away >= group_distance[keep - 1]:
                continue
            place = min(count, keep - 1)
            while place > 0 and group_distance[place - 1] > away:
                group_distance[place], groups[place] = group_distance[place - 1], groups[place - 1]
                place -= 1
            group_distance[place], groups[place] = away, g
            count = min(count + 1, keep)
        best, nearest_point = np.inf, -1
        for k in range(count):
            _to_points(query, points[groups[k]], distance)
            for p in range(points.shape[2]):
                number = members[groups[k], p]
                if number >= 0 and (distance[p] < best or (distance[p] == best and number < nearest_point)):
                    best, nearest_point = distance[p], number
        found[i] = nearest_point


@njit(nogil=True, cache=True, fastmath=_MATH, error_model="numpy")
def best_of(candidates, counts, vectors, data, begin, end, found, products):
    """The candidate with the largest inner product, the first of equals, and that product.

    Args:
        candidates: (query, candidate).
        counts: (query) of candidates.
        vectors: (vector, sample) of unit norm.
        data: (query, sample).
        begin, end: queries of this call.
        found: (query).
        products: (query).
    """
    for i in range(begin, end):
        best, chosen = -np.inf, -1
        for k in range(counts[i]):
            number = candidates[i, k]
            total = 0.0
            for j in range(data.shape[1]):
                total += np.float64(vectors[number, j]) * data[i, j]
            if total > best or (total == best and number < chosen):
                best, chosen = total, number
        found[i] = chosen
        products[i] = best
