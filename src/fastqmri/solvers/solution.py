"""What every solver returns."""

from __future__ import annotations

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
    """

    x: Tensor
    covariance: Tensor
    residual: Tensor
    converged: Tensor

    def transformed(self, x: Tensor, jacobian: Tensor) -> Solution:
        """The same estimates in other coordinates, ``jacobian`` = ∂x/∂self.x, (new, unknown, voxel)."""
        return Solution(x, propagate(jacobian, self.covariance), self.residual, self.converged)


def propagate(jacobian: Tensor, covariance: Tensor) -> Tensor:
    """J C Jᵀ for every voxel: (new, old, voxel) and (old, old, voxel) to (new, new, voxel)."""
    new, old = jacobian.shape[:2]
    half = [[sum(jacobian[i, k] * covariance[k, j] for k in range(old)) for j in range(old)] for i in range(new)]
    rows = [[sum(half[i][k] * jacobian[j, k] for k in range(old)) for j in range(i + 1)] for i in range(new)]
    return symmetric([torch.as_tensor(rows[i][j]) for i in range(new) for j in range(i + 1)], new)


def symmetric(packed: list[Tensor] | Tensor, size: int) -> Tensor:
    """(size, size, voxel) from the packed lower triangle, row by row."""
    return torch.stack(
        [torch.stack([packed[max(i, j) * (max(i, j) + 1) // 2 + min(i, j)] for j in range(size)]) for i in range(size)]
    )
