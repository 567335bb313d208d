"""First-order descent with a step size of its own for every unknown."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

_MEAN, _SQUARE = 0.9, 0.999
_LAST = 0.01
"""Share of the first step size that is left at the end."""


def adam(
    gradient: Callable[[Tensor, int], Tensor],
    moved: Callable[[Tensor, Tensor], Tensor],
    start: Tensor,
    *,
    step: float | Tensor,
    iterations: int = 200,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """Minimise a function by its gradient, the steps shrinking along a half cosine.

    Source: Kingma 2014.

    Args:
        gradient: (x, iteration) -> gradient.
        moved: (x, step) -> x + step, inside the bounds.
        start: first x.
        step: size of the first steps, a number or broadcastable to x.
        iterations: number of steps.
        progress: called with (iteration, iterations).

    Returns:
        x, and the last step.
    """
    x, change = start, torch.zeros_like(start)
    mean, square = torch.zeros_like(start), torch.zeros_like(start)
    for iteration in range(iterations):
        now = gradient(x, iteration)
        mean = _MEAN * mean + (1 - _MEAN) * now
        square = _SQUARE * square + (1 - _SQUARE) * now * now
        decay = _LAST + (1 - _LAST) * 0.5 * (1 + math.cos(math.pi * iteration / iterations))
        root = (square / (1 - _SQUARE ** (iteration + 1))).sqrt()
        direction = mean / (1 - _MEAN ** (iteration + 1)) / root.clamp_min(torch.finfo(x.dtype).tiny)
        following = moved(x, -decay * step * direction)
        change, x = following - x, following
        if progress:
            progress(iteration + 1, iterations)
    return x, change
