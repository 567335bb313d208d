"""Standard deviations of a model-based reconstruction, from its Gauss-Newton curvature."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d, avg_pool2d, avg_pool3d

from fastqmri.estimators.reconstruction.model_data import pulled_back
from fastqmri.estimators.reconstruction.model_problem import ModelProblem, multiply
from fastqmri.estimators.reconstruction.unknowns import Basis
from fastqmri.solvers.conjugate_gradient import conjugate_gradient
from fastqmri.solvers.linear import inverse

_ITERATIONS = 30
_TOLERANCE = 0.03
_NEIGHBOURHOOD = 5
_POOLS = {1: avg_pool1d, 2: avg_pool2d, 3: avg_pool3d}


@dataclass(frozen=True)
class Spread:
    """How far the unknowns may be off.

    Every voxel's own block of the curvature, inverted, is its covariance but for what its aliases and its neighbours
    do to it; that factor varies slowly, and comes from random draws of covariance σ² H⁻¹, averaged over the draws and
    the neighbourhood.

    Attributes:
        blocks: (row, row, *voxels) covariance of v from each voxel alone.
        draws: (draw, row, *voxels).
        inside: (*voxels) bool, the voxels that know their neighbours.
    """

    blocks: Tensor
    draws: Tensor
    inside: Tensor

    def deviation(self, gradient: Tensor) -> Tensor:
        """Standard deviation (*voxels) of a quantity with this gradient by v, (row, *voxels)."""
        alone = torch.zeros_like(gradient[0])
        for i in range(len(gradient)):
            for j in range(len(gradient)):
                alone += gradient[i] * self.blocks[i, j] * gradient[j]
        alone = alone.clamp_min(torch.finfo(alone.dtype).tiny)
        if not len(self.draws):
            return alone.sqrt()
        squares = (gradient * self.draws).sum(1).square().mean(0)
        return (alone * _neighbours(squares / alone, self.inside)).sqrt()


def spread(
    problem: ModelProblem,
    v: Tensor,
    basis: Basis,
    stage: int,
    *,
    like: Tensor,
    noise: float,
    draws: int,
    inside: Tensor,
    generator: torch.Generator,
) -> Spread:
    """Spread of the posterior near v: Gaussian, the penalty standing for a prior.

    A draw solves H δ = J^H E^H n + sqrt(λ) σ D^T W^½ ξ with white n and ξ, which has the covariance σ² H⁻¹.

    Args:
        problem: what was solved.
        v: its solution.
        basis: signal and derivatives there.
        stage: of the penalty.
        like: k-space.
        noise: σ of one channel of k-space.
        draws: their number; 0 leaves each voxel alone.
        inside: voxels to average over.
        generator: of the draws.
    """
    stiffness = problem.stiffness(v, stage)
    blocks = inverse(problem.blocks(basis, stiffness, v))
    found = []
    for _ in range(draws):
        right = pulled_back(problem.unknowns, basis, problem.data.noise(like, generator))
        right = right + problem.penalty.draw(stiffness, v, generator)
        found.append(
            conjugate_gradient(
                lambda change: problem.curvature(basis, stiffness, change),
                right,
                iterations=_ITERATIONS,
                tolerance=_TOLERANCE,
                preconditioner=lambda r: multiply(blocks, r),
            )
        )
    drawn = torch.stack(found) if found else v.new_zeros((0, *v.shape))
    return Spread(noise**2 * blocks, noise * drawn, inside)


def _neighbours(values: Tensor, inside: Tensor) -> Tensor:
    """Mean over the neighbours inside; outside the mean of all of those."""
    pool = _POOLS[values.ndim]
    share = inside.to(values)
    sums, counts = (
        pool(x[None, None], _NEIGHBOURHOOD, 1, _NEIGHBOURHOOD // 2)[0, 0] for x in (values * share, share)
    )
    middle = values[inside].mean() if bool(inside.any()) else values.new_ones(())
    return torch.where(counts > 0, sums / counts.clamp_min(1e-9), middle)
