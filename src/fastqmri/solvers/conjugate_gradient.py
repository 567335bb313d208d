"""Conjugate gradients for Hermitian positive systems of any shape."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def conjugate_gradient(
    system: Callable[[Tensor], Tensor],
    right: Tensor,
    *,
    start: Tensor | None = None,
    iterations: int = 50,
    tolerance: float = 0.0,
    preconditioner: Callable[[Tensor], Tensor] | None = None,
    dimensions: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """x of ``system(x) = right``.

    Source: Hestenes 1952.

    Args:
        system: a Hermitian, positive operator.
        right: right side, real or complex.
        start: first x; zeros if not given.
        iterations: at most.
        tolerance: it stops when all residuals are below this fraction of their right side.
        preconditioner: an approximate inverse of the system, Hermitian and positive.
        dimensions: number of last axes that make one system; those before them are systems of their own. All, if None.
        progress: called with (iteration, iterations).

    Returns:
        x, shaped like ``right``.
    """
    axes = tuple(range(-(right.ndim if dimensions is None else dimensions), 0))

    def inner(a: Tensor, b: Tensor) -> Tensor:
        return (a.conj() * b).real.sum(axes, keepdim=True)

    x = torch.zeros_like(right) if start is None else start.clone()
    residual = right if start is None else right - system(start)
    direction = residual if preconditioner is None else preconditioner(residual)
    energy = inner(residual, direction)
    limit = tolerance**2 * inner(right, right)
    for iteration in range(iterations):
        if tolerance and bool((inner(residual, residual) <= limit).all()):
            break
        image = system(direction)
        curvature = inner(direction, image)
        # a solved system of the batch has nothing left to divide
        step = torch.where(curvature > 0, energy / curvature, 0)
        x = x + step * direction
        residual = residual - step * image
        better = residual if preconditioner is None else preconditioner(residual)
        following = inner(residual, better)
        direction = better + torch.where(energy > 0, following / energy, 0) * direction
        energy = following
        if progress:
            progress(iteration + 1, iterations)
    return x
