"""Regularised Gauss-Newton for large non-linear least squares, each step by preconditioned conjugate gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from fastqmri.solvers.conjugate_gradient import conjugate_gradient

_State = TypeVar("_State")
_HALVINGS = 4


@dataclass(frozen=True)
class Linearised:
    """An objective near one point: f(x + δ) ≈ f(x) + gᵀδ + ½ δᵀH δ.

    Attributes:
        gradient: g, shaped like x.
        curvature: δ -> H δ, positive.
        preconditioner: an approximate inverse of H.
    """

    gradient: Tensor
    curvature: Callable[[Tensor], Tensor]
    preconditioner: Callable[[Tensor], Tensor]


class Problem(Protocol[_State]):
    """What `gauss_newton` asks of an objective; ``stage`` counts the iterations, for penalties that sharpen."""

    def state(self, x: Tensor) -> _State:
        """Whatever value and linearisation share at x."""
        ...

    def value(self, state: _State, stage: int) -> float:
        """The objective."""
        ...

    def linearise(self, state: _State, stage: int) -> Linearised:
        """Gradient and curvature."""
        ...

    def moved(self, x: Tensor, step: Tensor) -> Tensor:
        """x + step, kept inside the bounds and within reach of the linearisation."""
        ...

    def settled(self, gain: float, stage: int) -> bool:
        """Whether a step that lowered the objective by ``gain`` was too small to matter."""
        ...


@dataclass(frozen=True)
class Descent(Generic[_State]):
    """Where a descent ended.

    Attributes:
        x: the estimate.
        state: of the problem, at x.
        stage: of the last iteration.
        step: the last one.
        settled: whether it was too small to matter.
    """

    x: Tensor
    state: _State
    stage: int
    step: Tensor
    settled: bool


def gauss_newton(
    problem: Problem[_State],
    start: Tensor,
    *,
    iterations: int = 10,
    inner: int = 15,
    inner_tolerance: float = 0.03,
    progress: Callable[[int, int], None] | None = None,
) -> Descent[_State]:
    """Minimise a problem from ``start``; a step that makes it worse is halved.

    Args:
        problem: the objective.
        start: first x.
        iterations: Gauss-Newton steps at most.
        inner: conjugate gradient steps in each, at most.
        inner_tolerance: relative residual of the inner system to stop at.
        progress: called with (iteration, iterations).
    """
    x, state = start, problem.state(start)
    step, settled, stage = torch.zeros_like(start), False, 0
    for stage in range(iterations):
        near = problem.linearise(state, stage)
        step = conjugate_gradient(
            near.curvature,
            -near.gradient,
            iterations=inner,
            tolerance=inner_tolerance,
            preconditioner=near.preconditioner,
        )
        before = problem.value(state, stage)
        gain = 0.0
        for _ in range(_HALVINGS):
            trial = problem.moved(x, step)
            following = problem.state(trial)
            gain = before - problem.value(following, stage)
            if gain >= 0:
                x, state = trial, following
                break
            step, gain = step / 2, 0.0
        else:
            step = torch.zeros_like(step)
        settled = problem.settled(gain, stage)
        if progress:
            progress(stage + 1, iterations)
        if settled:
            break
    return Descent(x, state, stage, step, settled)
