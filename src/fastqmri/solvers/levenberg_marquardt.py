"""Batched Levenberg-Marquardt for any differentiable model: the general solver, and every kernel's oracle."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fastqmri.solvers.linear import inverse, products, solve
from fastqmri.solvers.solution import Solution, symmetric

Evaluate = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(x (unknown, active), indices of the active voxels) -> signal (sample, active), Jacobian."""


def levenberg_marquardt(
    evaluate: Evaluate,
    data: Tensor,
    start: Tensor,
    lower: Tensor,
    upper: Tensor,
    *,
    weights: Tensor | None = None,
    iterations: int = 100,
    tolerance: float = 1e-6,
) -> Solution:
    """Minimise Σ w |data - signal(x)|² in every voxel, inside a box.

    Voxels leave the batch as they converge. Unknowns that a step would push through their bound are held there.

    Args:
        evaluate: signal and Jacobian, (sample, active) and (sample, unknown, active), real or complex.
        data: (sample, voxel), real or complex.
        start: (unknown, voxel).
        lower: (unknown, 1) or (unknown, voxel).
        upper: like ``lower``.
        weights: (sample, voxel), or None.
        iterations: trial steps at most.
        tolerance: relative change of every unknown that ends a fit.

    Returns:
        The solution; voxels still moving after ``iterations`` are not converged.

    Source: Marquardt 1963, with his scaling by the diagonal.
    """
    if data.is_complex():
        return levenberg_marquardt(
            lambda x, active: _split_both(*evaluate(x, active)),
            _split(data),
            start,
            lower,
            upper,
            weights=None if weights is None else torch.cat([weights, weights]),
            iterations=iterations,
            tolerance=tolerance,
        )
    voxels = data.shape[1]
    lower, upper = lower.expand(-1, voxels), upper.expand(-1, voxels)
    active = torch.arange(voxels, device=data.device)
    x = torch.minimum(torch.maximum(start, lower), upper)
    damp = torch.full_like(x[0], 1e-3)
    cost, normal, gradient = _normal_equations(evaluate, data, weights, x, active)
    final_x, final_cost, final_normal = x.clone(), cost.clone(), normal.clone()
    converged = torch.zeros(voxels, dtype=torch.bool, device=data.device)
    for _ in range(iterations):
        low, high = lower[:, active], upper[:, active]
        step = _step(normal, gradient, damp, x, low, high)
        trial = torch.minimum(torch.maximum(x + step, low), high)
        trial_cost, trial_normal, trial_gradient = _normal_equations(
            evaluate, data[:, active], None if weights is None else weights[:, active], trial, active
        )
        accepted = trial_cost <= cost
        moved = (trial - x).abs()
        still = moved <= tolerance * torch.maximum(trial.abs(), tolerance * (high - low).clamp_max(1.0))
        x = torch.where(accepted, trial, x)
        cost = torch.where(accepted, trial_cost, cost)
        normal = torch.where(accepted, trial_normal, normal)
        gradient = torch.where(accepted, trial_gradient, gradient)
        damp = torch.where(accepted, (damp * 0.1).clamp_min(1e-9), damp * 10)
        done = still.all(0) | (damp > 1e12)
        if bool(done.any()):
            leaving = active[done]
            final_x[:, leaving], final_cost[leaving] = x[:, done], cost[done]
            final_normal[:, :, leaving] = normal[:, :, done]
            converged[leaving] = True
            going = ~done
            active, x, cost, damp = active[going], x[:, going], cost[going], damp[going]
            normal, gradient = normal[:, :, going], gradient[:, going]
        if not len(active):
            break
    final_x[:, active], final_cost[active], final_normal[:, :, active] = x, cost, normal
    return Solution(final_x, inverse(final_normal), final_cost, converged)


def _normal_equations(
    evaluate: Evaluate, data: Tensor, weights: Tensor | None, x: Tensor, active: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Cost, JᵀWJ and JᵀWr."""
    signal, jacobian = evaluate(x, active)
    both = torch.cat([jacobian, (data - signal)[:, None]], 1)
    sums = products(both if weights is None else both * weights[:, None], both)
    unknowns = jacobian.shape[1]
    triangle = unknowns * (unknowns + 1) // 2
    return sums[-1], symmetric(sums[:triangle], unknowns), sums[triangle:-1]


def _step(normal: Tensor, gradient: Tensor, damp: Tensor, x: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    held = ((x <= lower) & (gradient < 0)) | ((x >= upper) & (gradient > 0))
    free = (~held).to(x)
    matrix = normal * free[:, None] * free[None]
    diagonal = torch.stack([normal[i, i] for i in range(len(x))])
    tiny = torch.finfo(x.dtype).tiny
    for i in range(len(x)):
        matrix[i, i] = torch.where(held[i], 1.0, (diagonal[i] * (1 + damp)).clamp_min(tiny))
    return solve(matrix, gradient * free)


def _split_both(signal: Tensor, jacobian: Tensor) -> tuple[Tensor, Tensor]:
    return _split(signal), _split(jacobian)


def _split(z: Tensor) -> Tensor:
    """Real parts above imaginary parts along the sample axis."""
    return torch.cat([z.real, z.imag]) if z.is_complex() else torch.cat([z, torch.zeros_like(z)])
