"""Non-negative least squares of many small problems, regularised; compiled."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from types import ModuleType
from typing import Literal

import numpy as np
import numpy.typing as npt

from fastqmri.solvers import dispatch

Array = npt.NDArray
Rule = Literal["none", "factor", "corner", "generalised", "discrepancy"]
_LEAST = 16


@functools.cache
def kernels() -> ModuleType:
    """The compiled solver."""
    from fastqmri.solvers import compiled_nnls

    return compiled_nnls


@dataclass(frozen=True)
class Table:
    """A matrix that depends on one number, its place: tabulated at even steps with its derivative.

    Attributes:
        values: (bin, sample, column).
        slopes: their derivatives by the place.
        first: place of the first bin.
        step: between bins.
    """

    values: Array
    slopes: Array
    first: float
    step: float


@dataclass(frozen=True)
class Amplitudes:
    """Non-negative amplitudes of a batch.

    Attributes:
        x: (voxel, column).
        ridge: (voxel) weight μ² of Σ x² that was chosen.
        place: (voxel) where the matrix was taken.
        curve: (voxel) second derivative of the misfit by the place; NaN where the place was known.
        cost: (voxel) sum of squared residuals.
        table: of the matrices.
        weights: (voxel, sample) square roots of the weights, or None.
    """

    x: Array
    ridge: Array
    place: Array
    curve: Array
    cost: Array
    table: Table
    weights: Array | None

    def variances(self, gradients: Array) -> Array:
        """(quantity, voxel) variances per unit noise variance, of gradients (quantity, column, voxel or 1).

        The place and the strength of the regularisation are taken as given, and what is zero stays zero.
        """
        out = np.empty((len(gradients), len(self.x)))
        t = self.table
        run = functools.partial(
            kernels().variances,
            self.x,
            self.ridge,
            self.place,
            self.weights,
            t.values,
            t.slopes,
            t.step,
            t.first,
            np.ascontiguousarray(gradients),
        )
        dispatch.spread(lambda begin, end: run(begin, end, out), len(self.x), lanes=1, least=_LEAST)
        return out


def solve(
    data: Array,
    table: Table,
    places: Array,
    search: Array,
    rule: Rule = "none",
    level: float = 0.0,
    weights: Array | None = None,
) -> Amplitudes:
    """Minimise |A(place) x - y|² + μ² |x|² over x >= 0, in every voxel.

    Where a place is NaN it is looked for first: the one of the least misfit without regularisation.

    Args:
        data: y, (voxel, sample).
        table: of A.
        places: (voxel), NaN where unknown.
        search: (node) ascending places to look from.
        rule: how μ is chosen. ``none`` takes zero; ``factor`` raises the misfit to ``level`` times the least;
            ``corner`` is that of the L-curve; ``generalised`` cross-validation; ``discrepancy`` raises the root mean
            square residual to ``level``.
        level: see ``rule``.
        weights: (voxel, sample) square roots of the weights, or None.

    Source: Lawson 1974; Hansen 1992; Golub 1979.
    """
    compiled = kernels()
    voxels, columns = len(data), table.values.shape[2]
    out, (ridges, found, curves, costs) = np.empty((voxels, columns)), np.empty((4, voxels))
    number = ("none", "factor", "corner", "generalised", "discrepancy").index(rule)
    run = functools.partial(
        compiled.distributions,
        data,
        weights,
        table.values,
        table.slopes,
        table.step,
        table.first,
        places,
        search,
        number,
        level,
    )
    dispatch.spread(
        lambda begin, end: run(begin, end, out, ridges, found, curves, costs), voxels, lanes=1, least=_LEAST
    )
    return Amplitudes(out, ridges, found, curves, costs, table, weights)
