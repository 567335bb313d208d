"""Non-linear least squares for any signal model, the fast solver wherever the model's structure has one."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from fastqmri.estimators.voxelwise import CHUNK, Voxelwise, widens
from fastqmri.physics.signal import SignalModel
from fastqmri.solvers import dispatch
from fastqmri.solvers.levenberg_marquardt import levenberg_marquardt
from fastqmri.solvers.solution import Solution

_ITERATIONS = 400
"""Enough for the long valleys of exchange and of many lines; voxels that settle sooner leave the batch."""


def least_squares(
    model: SignalModel,
    *,
    noise: str = "gaussian",
    compiled: bool = True,
    chunk: int = CHUNK,
    iterations: int = _ITERATIONS,
    progress: Callable[[int, int], None] | None = None,
) -> Voxelwise:
    """Maximum likelihood under Gaussian (or Rician) noise, inside the bounds of the parameters.

    Args:
        model: any `SignalModel`.
        noise: ``gaussian`` or ``rician``.
        compiled: allow compiled kernels; without them the same optimum is found more slowly.
        chunk: voxels a batch.
        iterations: of the general solver, at most.
        progress: called with (voxels done, voxels in all).
    """
    solve = solve_fast if compiled else solve_general
    if iterations != _ITERATIONS:
        shorter = functools.partial(solve, iterations=iterations)
        solve = widens(shorter) if compiled else shorter
    return Voxelwise(model, solve, "nlls", noise=noise, chunk=chunk, progress=progress)


@widens
def solve_fast(
    model: SignalModel,
    data: Tensor,
    weights: Tensor | None,
    known: dict[str, Tensor],
    iterations: int = _ITERATIONS,
) -> Solution:
    """Compiled kernels where they apply; voxels they leave outside the bounds go to the general solver."""
    return _with_polarity(model, data, weights, known, functools.partial(_fast, iterations=iterations))


def solve_general(
    model: SignalModel,
    data: Tensor,
    weights: Tensor | None,
    known: dict[str, Tensor],
    iterations: int = _ITERATIONS,
) -> Solution:
    """Batched Levenberg-Marquardt on the model's own Jacobian."""
    return _with_polarity(model, data, weights, known, functools.partial(_general, iterations=iterations))


def _fast(
    model: SignalModel, data: Tensor, weights: Tensor | None, known: dict[str, Tensor], iterations: int
) -> Solution:
    solution = _by_structure(model, data, weights, known) if dispatch.usable(data) else None
    if solution is None:
        return _general(model, _wide(data), weights, known, iterations)
    lower, upper = _bounds(model, solution.x)
    outside = ((solution.x < lower) | (solution.x > upper)).any(0)
    redo = (outside | ~solution.converged | ~torch.isfinite(solution.x).all(0)).nonzero()[:, 0]
    if not len(redo):
        return solution
    part = _general(
        model,
        _wide(data[:, redo]),
        None if weights is None else weights[:, redo],
        {name: value[redo] for name, value in known.items()},
        iterations,
    )
    x, covariance = solution.x.clone(), solution.covariance.clone()
    residual, converged = solution.residual.clone(), solution.converged.clone()
    x[:, redo], covariance[:, :, redo] = part.x, part.covariance
    residual[redo], converged[redo] = part.residual, part.converged
    return Solution(x, covariance, residual, converged)


def _by_structure(
    model: SignalModel, data: Tensor, weights: Tensor | None, known: dict[str, Tensor]
) -> Solution | None:
    separable = model.separable()
    if separable is not None:
        if separable.kind == "exponential":
            z = dispatch.fit_exponential(
                data, weights, separable.abscissa[0], separable.bounds, constant=separable.constant
            )
        else:
            sine, cosine = separable.abscissa[0][:, None], separable.abscissa[1][:, None]
            if separable.scale in known and separable.angles is not None:
                angle = separable.angles[:, None] * known[separable.scale]
                sine, cosine = torch.sin(angle), torch.cos(angle)
            z = dispatch.fit_rational(data, weights, sine, cosine, separable.bounds)
        return z.transformed(*separable.to_parameters(z.x))
    logarithmic = model.log_linear(known)
    if logarithmic is not None:
        z = dispatch.fit_log_linear(data, weights, logarithmic.design, passes=1, iterations=60)
        return logarithmic.parameters_of(z)
    return None


def _general(
    model: SignalModel, data: Tensor, weights: Tensor | None, known: dict[str, Tensor], iterations: int
) -> Solution:
    free = list(model.estimated)
    start = model.start(data, weights)[free]
    # products over a batch round by its size: in single precision a voxel starts alike in any company
    start = start.float().to(start)
    lower, upper = _bounds(model, start)

    def evaluate(x: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
        return model.evaluate_estimated(model.complete(x, {k: v[active] for k, v in known.items()}))

    return levenberg_marquardt(evaluate, data, start, lower, upper, weights=weights, iterations=iterations)


def _bounds(model: SignalModel, like: Tensor) -> tuple[Tensor, Tensor]:
    free = list(model.estimated)
    chosen = [model.parameters[i].bounds for i in free]
    lower = torch.tensor([low for low, _ in chosen], dtype=like.dtype, device=like.device)[:, None]
    upper = torch.tensor([high for _, high in chosen], dtype=like.dtype, device=like.device)[:, None]
    return lower, upper


def _wide(data: Tensor) -> Tensor:
    return data if data.is_complex() else data.double()


def _with_polarity(
    model: SignalModel,
    data: Tensor,
    weights: Tensor | None,
    known: dict[str, Tensor],
    fit: Callable[..., Solution],
) -> Solution:
    """Give magnitudes of a recovering signal their sign back: negative before the smallest one.

    Whether the smallest sample itself is before or after the null is decided by the better fit.

    Source: Barral 2010.
    """
    signed = model.signed()
    if signed is None:
        return fit(model, data, weights, known)
    data = _wide(data)
    times = model.acquisition.tensor(model.acquisition.varies).to(data)[:, None]
    considered = data if weights is None else torch.where(weights > 0, data, torch.full_like(data, torch.inf))
    null = times[considered.argmin(0), 0]
    candidates = []
    for before in (times < null, times <= null):
        candidates.append(fit(signed, torch.where(before, -data, data), weights, known))
    first, second = candidates
    better = second.residual < first.residual
    return Solution(
        torch.where(better, second.x, first.x),
        torch.where(better, second.covariance, first.covariance),
        torch.where(better, second.residual, first.residual),
        torch.where(better, second.converged, first.converged),
    )
