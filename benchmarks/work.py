"""How many bytes and operations a voxel needs, to say what limits each fit. Estimates, counted by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fastqmri.physics.signal import SignalModel
from fastqmri.solvers import dispatch

_EXPONENTIAL = 26  # operations of the kernels' own exp
_JUDGE = 60  # of the step between two evaluations


@dataclass(frozen=True)
class Work:
    """Of one voxel.

    Attributes:
        bytes: through memory at least: float32 samples in; values, deviations, misfit, noise, flags out.
        flops: of the solver, a multiply-add counted as two.
        evaluations: of the signal, mean.
    """

    bytes: float
    flops: float
    evaluations: float


def of_curve(model: SignalModel, solve: Callable[[], object]) -> Work:
    """A separable model's fit; ``solve`` runs the solver once."""
    separable = model.separable()
    assert separable is not None
    contrasts = model.acquisition.contrasts
    evaluations = _mean_evaluations(separable.kind, solve)
    if separable.kind == "rational":
        once, each = 13 * contrasts, 19 * contrasts
    else:
        times = np.sort(separable.abscissa[0].numpy())
        spacings = 1 + int((np.abs(np.diff(times, n=2, prepend=0.0)) > 1e-9).sum())
        once = 2 * contrasts * 13
        each = contrasts * (15 if separable.constant else 12) + _EXPONENTIAL * spacings
    return Work(_bytes(model), once + evaluations * (each + _JUDGE), evaluations)


def of_logarithm(model: SignalModel, passes: int) -> Work:
    """Reweighted least squares of the logarithms."""
    structure = model.log_linear()
    assert structure is not None
    contrasts, p = structure.design.shape
    sums = 2 * (p * (p + 1) // 2 + p) * contrasts
    predict = (2 * p + _EXPONENTIAL) * contrasts
    solve = p**3 // 3 + 4 * p * p
    ordinary = (2 * p + 20) * contrasts
    return Work(
        _bytes(model), ordinary + passes * (sums + predict + solve) + predict + 2 * p**3, passes + 1.0
    )


def _bytes(model: SignalModel) -> float:
    outputs = len(model.estimated) + len(model.derived)
    return 4 * model.acquisition.contrasts + 8 * outputs + 9


def _mean_evaluations(kernel: str, solve: Callable[[], object]) -> float:
    """Evaluations a voxel, from the row in which the kernel reports them."""
    module = dispatch.kernels()
    if module is None:
        return float("nan")
    original, seen = getattr(module, kernel), []

    def spy(*arguments: object) -> None:
        original(*arguments)
        begin, end, out = arguments[-3:]
        seen.append(out[-1, begin:end].copy())

    setattr(module, kernel, spy)
    try:
        solve()
    finally:
        setattr(module, kernel, original)
    return float(np.concatenate(seen).mean())
