"""Images with few edges."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from fastqmri.core import Measurement, Progress
from fastqmri.estimators.reconstruction.problem import data_term
from fastqmri.physics.encoding import FiniteDifferences
from fastqmri.solvers.first_order import primal_dual
from fastqmri.solvers.proximal import within_ball

_BALANCE = 0.02


@dataclass(frozen=True)
class TotalVariation:
    """min ½||E ρ - y||² + λ Σ_v ||∇ρ_v||, by the primal-dual method.

    Source: Block 2007 for the penalty, Condat 2013 for the solver; λ is our choice.

    Attributes:
        weight: λ in standard deviations of the noise that arrives in the images; of a joint penalty, times the root of
            the number of contrasts.
        joint: whether edges of all contrasts count together, so that they fall on the same voxels.
        iterations: at most.
        tolerance: relative change to stop at.
    """

    weight: float = 1.4
    joint: bool = True
    iterations: int = 100
    tolerance: float = 1e-4
    name: str = "total-variation"
    references: tuple[str, ...] = ("block2007", "condat2013")

    def reconstruct(self, measurement: Measurement, *, progress: Progress | None = None) -> Tensor:
        """Complex images (contrast, *voxels)."""
        term = data_term(measurement)
        dimensions = len(measurement.voxels)
        differences = FiniteDifferences(dimensions)
        direction = -dimensions - 1
        axes = (0, direction) if self.joint else direction
        threshold = self.weight * term.noise * (math.sqrt(len(term.right)) if self.joint else 1)
        return primal_dual(
            term.gradient,
            differences,
            differences.adjoint,
            lambda y: within_ball(y, threshold, axes),
            term.right,
            lipschitz=term.lipschitz,
            norm=differences.norm,
            balance=_BALANCE * term.lipschitz,
            iterations=self.iterations,
            tolerance=self.tolerance,
            progress=progress,
        )
