"""First-order methods for min f(x) + R(x), on tensors of any shape, real or complex.

f is smooth and given by its gradient (of real functions of complex x: E^H (E x - y) for ½||E x - y||²), R by its
proximal operator.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from fastqmri.core import Progress

Map = Callable[[Tensor], Tensor]


def largest_eigenvalue(
    operator: Map, start: Tensor, *, iterations: int = 30, tolerance: float = 1e-3
) -> float:
    """Largest eigenvalue of a Hermitian, positive operator by power iteration; it comes from below.

    Args:
        operator: maps tensors shaped like ``start``.
        start: a random tensor.
        iterations: at most.
        tolerance: relative change to stop at.
    """
    vector = start / start.norm()
    value = 0.0
    for _ in range(iterations):
        image = operator(vector)
        before, value = value, float(image.norm())
        if value == 0 or abs(value - before) <= tolerance * value:
            break
        vector = image / value
    return value


def fista(
    gradient: Map,
    proximal: Map,
    start: Tensor,
    *,
    step: float,
    iterations: int = 100,
    tolerance: float = 0.0,
    restart: bool = True,
    progress: Progress | None = None,
) -> Tensor:
    """Accelerated proximal gradient; the momentum starts anew where it points uphill.

    Source: Beck 2009; O'Donoghue 2015 for the restart.

    Args:
        gradient: of f.
        proximal: of ``step`` R.
        start: first x.
        step: at most one over the Lipschitz constant of the gradient.
        iterations: at most.
        tolerance: it stops when an iteration changes x by less than this fraction.
        restart: whether the momentum may start anew.
        progress: called with (iteration, iterations).
    """
    x = ahead = start
    momentum = 1.0
    for iteration in range(iterations):
        new = proximal(torch.add(ahead, gradient(ahead), alpha=-step))
        change = new - x
        if restart and momentum > 1 and _inner(ahead - new, change) > 0:
            momentum = 1.0
        following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        ahead = torch.add(new, change, alpha=(momentum - 1) / following)
        x, momentum = new, following
        if progress:
            progress(iteration + 1, iterations)
        if tolerance and _settled(change, x, tolerance):
            break
    return x


def primal_dual(
    gradient: Map,
    analysis: Map,
    adjoint: Map,
    dual_projection: Map,
    start: Tensor,
    *,
    lipschitz: float,
    norm: float,
    proximal: Map | None = None,
    balance: float = 1.0,
    iterations: int = 100,
    tolerance: float = 0.0,
    progress: Progress | None = None,
) -> Tensor:
    """min f(x) + G(x) + R(K x) by the primal-dual method with a gradient step, without inner solves.

    Steps are σ = balance / norm and τ = 1 / (L/2 + σ norm²).

    Source: Condat 2013; without f it is Chambolle 2011.

    Args:
        gradient: of f.
        analysis: K.
        adjoint: of K.
        dual_projection: proximal operator of the conjugate of R; for norms the projection on the dual unit ball, which
            no step enters.
        start: first x.
        lipschitz: L, Lipschitz constant of the gradient.
        norm: of K, or more.
        proximal: of τ G, for an indicator G (a projection); the identity if None.
        balance: between both steps; best near the ratio of dual to primal distance from the start.
        iterations: at most.
        tolerance: it stops when an iteration changes x and the dual by less than this fraction.
        progress: called with (iteration, iterations).
    """
    dual_step = balance / norm
    step = 1 / (lipschitz / 2 + dual_step * norm**2)
    x = start
    dual = torch.zeros_like(analysis(x))
    for iteration in range(iterations):
        new = torch.add(x, gradient(x).add_(adjoint(dual)), alpha=-step)
        if proximal is not None:
            new = proximal(new)
        change = new - x
        before, x = dual, new
        dual = dual_projection(torch.add(dual, analysis(new + change), alpha=dual_step))
        if progress:
            progress(iteration + 1, iterations)
        if tolerance and _settled(change, x, tolerance) and _settled(dual - before, dual, tolerance):
            break
    return x


def admm(
    solve: Callable[[Tensor, Tensor], Tensor],
    analysis: Map,
    proximal: Map,
    start: Tensor,
    *,
    iterations: int = 100,
    tolerance: float = 0.0,
    progress: Progress | None = None,
) -> Tensor:
    """min f(x) + R(K x) by the alternating direction method of multipliers, scaled form.

    Source: Boyd 2011.

    Args:
        solve: (v, x) -> argmin f(x) + ρ/2 ||K x - v||², where x is the last one, to start from.
        analysis: K.
        proximal: of R / ρ.
        start: first x.
        iterations: at most.
        tolerance: it stops when an iteration changes x and leaves K x from its split by less than this fraction.
        progress: called with (iteration, iterations).
    """
    x = start
    image = analysis(x)
    split = proximal(image)
    multiplier = image - split
    for iteration in range(iterations):
        new = solve(split - multiplier, x)
        image = analysis(new)
        multiplier = multiplier + image
        split = proximal(multiplier)
        multiplier = multiplier - split
        change, x = new - x, new
        if progress:
            progress(iteration + 1, iterations)
        if tolerance and _settled(change, x, tolerance) and _settled(image - split, image, tolerance):
            break
    return x


def _inner(a: Tensor, b: Tensor) -> float:
    if a.is_complex():
        a, b = torch.view_as_real(a), torch.view_as_real(b)
    return float((a * b).sum())


def _settled(change: Tensor, x: Tensor, tolerance: float) -> bool:
    return float(change.norm()) <= tolerance * float(x.norm())
