"""Dart throwing on a grid, compiled by numba."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True, error_model="numpy")
def throw(order, radius, taken):
    """Take grid points in ``order`` unless a taken one lies nearer than the larger radius of the two.

    Args:
        order: flat indices of the grid.
        radius: (row, column), of each point.
        taken: (row, column) bool, all false; set here.

    Returns:
        How many are taken.
    """
    rows, columns = radius.shape
    blocked = np.zeros((rows, columns), np.bool_)
    count = 0
    for index in order:
        row, column = index // columns, index % columns
        if blocked[row, column]:  # within the radius of a taken one
            continue
        reach, square = int(radius[row, column]), radius[row, column] ** 2
        top, bottom = max(0, row - reach), min(rows, row + reach + 1)
        left, right = max(0, column - reach), min(columns, column + reach + 1)
        free = True
        for other in range(top, bottom):
            for one in range(left, right):
                if taken[other, one] and (other - row) ** 2 + (one - column) ** 2 < square:
                    free = False
        if free:
            taken[row, column] = True
            count += 1
            for other in range(top, bottom):
                for one in range(left, right):
                    if (other - row) ** 2 + (one - column) ** 2 < square:
                        blocked[other, one] = True
    return count
