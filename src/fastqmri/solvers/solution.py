"""What every solver returns."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Solution:
    """Estimates of a batch of small problems.

    Attributes:
        x: (unknown, voxel).
        covariance: (unknown, unknown, voxel) per unit variance of the noise.
        residual: (voxel) weighted sum of squared residuals.
        converged: (voxel) bool.
        fixed: (unknown, voxel) variances that do not come from noise (the step of a grid), or None.
        at_bound: (voxel) bool: stopped at a limit that the unknowns' own bounds do not show (the end of a grid);
            None where they do.
    """

    x: Tensor
    covariance: Tensor
    residual: Tensor
    converged: Tensor
    fixed: Tensor | None = None
    at_bound: Tensor | None = None

    def transformed(self, x: Tensor, jacobian: Tensor) -> Solution:
        """The same estimates in other coordinates, ``jacobian`` = ∂x/∂self.x, (new, unknown, voxel)."""
        return Solution(x, propagate(jacobian, self.covariance), self.residual, self.converged)

    def scaled(self, x: Tensor, diagonal: Tensor) -> Solution:
        """The same estimates in coordinates that do not mix, ``diagonal`` = ∂x_i/∂self.x_i, (unknown, voxel)."""
        covariance = self.covariance * diagonal[:, None] * diagonal[None]
        return Solution(x, covariance, self.residual, self.converged)

    def entry(self, i: int, j: int) -> Tensor:
        """An entry of the covariance, (voxel)."""
        return self.covariance[i, j]

    def variance(self, gradient: Tensor) -> Tensor:
        """Variance (voxel) of a quantity whose gradient by x is given, (unknown, voxel)."""
        return _quadratic(gradient, self.entry)


class PackedSolution(Solution):
    """A solution that keeps the lower triangle of its covariance, and unfolds the rest only if it is asked for.

    Attributes:
        packed: (entry, voxel) lower triangle, row by row.
    """

    packed: Tensor

    def __init__(self, x: Tensor, covariance: Tensor, residual: Tensor, converged: Tensor) -> None:
        rows = [covariance[i, j] for i in range(len(x)) for j in range(i + 1)]
        self._fill(x, torch.stack(rows), residual, converged)

    @classmethod
    def of(
        cls,
        x: Tensor,
        packed: Tensor,
        residual: Tensor,
        converged: Tensor,
        fixed: Tensor | None = None,
        at_bound: Tensor | None = None,
    ) -> PackedSolution:
        """From the lower triangle, row by row, (entry, voxel)."""
        solution = cls.__new__(cls)
        solution._fill(x, packed, residual, converged)
        solution.__dict__.update(fixed=fixed, at_bound=at_bound)
        return solution

    def _fill(self, x: Tensor, packed: Tensor, residual: Tensor, converged: Tensor) -> None:
        # a frozen dataclass: its fields are set where its own initialiser would
        self.__dict__.update(x=x, packed=packed, residual=residual, converged=converged)

    @functools.cached_property
    def covariance(self) -> Tensor:
        """(unknown, unknown, voxel) per unit variance of the noise."""
        return symmetric(self.packed, len(self.x))

    def transformed(self, x: Tensor, jacobian: Tensor) -> Solution:
        """The same estimates in other coordinates."""
        packed = torch.stack(_propagated(jacobian, self.entry))
        return PackedSolution.of(x, packed, self.residual, self.converged)

    def scaled(self, x: Tensor, diagonal: Tensor) -> Solution:
        """The same estimates in coordinates that do not mix."""
        packed = torch.empty_like(self.packed)
        for i in range(len(x)):
            for j in range(i + 1):
                row = i * (i + 1) // 2 + j
                torch.mul(self.packed[row], diagonal[i], out=packed[row]).mul_(diagonal[j])
        return PackedSolution.of(x, packed, self.residual, self.converged)

    def entry(self, i: int, j: int) -> Tensor:
        """An entry of the covariance, (voxel)."""
        return self.packed[max(i, j) * (max(i, j) + 1) // 2 + min(i, j)]


def propagate(jacobian: Tensor, covariance: Tensor) -> Tensor:
    """J C Jᵀ for every voxel: (new, old, voxel) and (old, old, voxel) to (new, new, voxel).

    Most Jacobians are nearly empty: entries that are zero in all voxels are left out of the sums.
    """
    return symmetric(_propagated(jacobian, lambda i, j: covariance[i, j]), len(jacobian))


def _propagated(jacobian: Tensor, entry: Callable[[int, int], Tensor]) -> list[Tensor]:
    """Lower triangle of J C Jᵀ, row by row."""
    new, old = jacobian.shape[:2]
    present = (jacobian != 0).flatten(2).any(2).tolist()
    filled = [[k for k in range(old) if present[i][k]] for i in range(new)]
    zero = torch.zeros_like(entry(0, 0))
    half = [
        [_total([jacobian[i, k] * entry(k, j) for k in filled[i]], zero) for j in range(old)]
        for i in range(new)
    ]
    return [
        _total([half[i][k] * jacobian[j, k] for k in filled[j]], zero)
        for i in range(new)
        for j in range(i + 1)
    ]


def variance(gradient: Tensor, covariance: Tensor) -> Tensor:
    """gᵀ C g for every voxel: (unknown, voxel) and (unknown, unknown, voxel) to (voxel)."""
    return _quadratic(gradient, lambda i, j: covariance[i, j])


def _quadratic(gradient: Tensor, entry: Callable[[int, int], Tensor]) -> Tensor:
    rows = (gradient != 0).flatten(1).any(1).nonzero()[:, 0].tolist()
    total = torch.zeros_like(gradient[0])
    for place, i in enumerate(rows):
        product = entry(i, i) * gradient[i]
        for j in rows[:place]:
            product.addcmul_(entry(i, j), gradient[j], value=2)
        total.addcmul_(product, gradient[i])
    return total


def symmetric(packed: list[Tensor] | Tensor, size: int) -> Tensor:
    """(size, size, voxel) from the packed lower triangle, row by row."""
    rows = packed if isinstance(packed, Tensor) else torch.stack(packed)
    places = [max(i, j) * (max(i, j) + 1) // 2 + min(i, j) for i in range(size) for j in range(size)]
    return rows[torch.tensor(places, device=rows.device)].view(size, size, *rows.shape[1:])


def _total(terms: list[Tensor], zero: Tensor) -> Tensor:
    total = zero
    for place, term in enumerate(terms):
        total = total + term if place else term
    return total
