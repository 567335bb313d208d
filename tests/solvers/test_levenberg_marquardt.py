"""The general solver against scipy's bounded least squares, voxel by voxel, for every model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import least_squares as scipy_least_squares
from torch import Tensor

from fastqmri.solvers.levenberg_marquardt import levenberg_marquardt
from fastqmri.solvers.solution import Solution
from physics.checks import Case
from physics.registry import BY_NAME, CASES
from solvers.problems import Problem, problem

VOXELS = 12
SADDLE = "mese-stimulated-ideal"
"""Its signal is even in the distance from the perfect pulse, and a fit may stay there."""
KINKED = ("fingerprinting",)
"""Magnitudes of signed signals: where one passes zero the sum of squares has a kink, and a fit may stop on it."""
each_model = pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.name, marks=[pytest.mark.slow] if case.costly else [])
        for case in CASES
        if case.determined  # where there are more unknowns than samples, any of many solutions is right
    ],
)


def perturbed(given: Problem, generator: torch.Generator) -> Tensor:
    """Starting values within a tenth of the truth, inside the bounds."""
    u = torch.rand(given.estimated.shape, dtype=torch.float64, generator=generator)
    lower, upper = given.bounds
    return (given.estimated * (0.9 + 0.2 * u)).clamp(lower, upper)


def fit(given: Problem, start: Tensor, weights: Tensor | None = None, iterations: int = 200) -> Solution:
    return levenberg_marquardt(
        given.evaluate, given.data, start, *given.bounds, weights=weights, iterations=iterations
    )


def real_and_imaginary(values: Tensor) -> np.ndarray:
    return (torch.cat([values.real, values.imag]) if values.is_complex() else values).numpy()


def scipy_fit(given: Problem, start: Tensor, voxel: int, weights: Tensor | None) -> tuple[np.ndarray, float]:
    """Parameters and sum of squares of the trust-region reflective solver."""
    index = torch.tensor([voxel])
    root = None if weights is None else weights[:, voxel].sqrt()

    def pieces(x: np.ndarray) -> tuple[Tensor, Tensor]:
        signal, jacobian = given.evaluate(torch.from_numpy(x)[:, None], index)
        residual, slope = signal[:, 0] - given.data[:, voxel], jacobian[:, :, 0]
        return (residual, slope) if root is None else (residual * root, slope * root[:, None])

    lower, upper = (bound[:, 0].numpy() for bound in given.bounds)
    x = start[:, voxel].numpy()
    found = scipy_least_squares(
        lambda x: real_and_imaginary(pieces(x)[0]),
        np.clip(x, lower + 1e-9 * (1 + np.abs(lower)), upper),
        lambda x: real_and_imaginary(pieces(x)[1]),
        bounds=(lower, upper),
        x_scale=np.maximum(np.abs(x), 1e-6),
        ftol=1e-15,
        xtol=1e-13,
        gtol=1e-15,
        max_nfev=400,
    )
    return found.x, 2 * found.cost


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@each_model
def test_against_scipy(case: Case, weighted: bool, generator: torch.Generator) -> None:
    given = problem(case, VOXELS, 10_000 if case.ill_conditioned else 100, generator)
    weights = None
    if weighted:
        weights = 0.2 + torch.rand(given.data.shape, dtype=torch.float64, generator=generator)
        weights[1, ::3] = 0
    channels = 2 if given.data.is_complex() else 1
    samples = channels * (torch.ones(given.data.shape) if weights is None else (weights > 0)).sum(0)
    start = perturbed(given, generator)
    found = fit(given, start, weights)
    assert float(found.converged.double().mean()) >= (0.75 if case.ill_conditioned else 0.9)
    lower, upper = given.bounds
    assert bool(((found.x >= lower) & (found.x <= upper)).all())
    same_valley, better = 0, 0
    margin = 1e-4 if case.name in KINKED else 1e-6
    for v in found.converged.nonzero()[:, 0].tolist():
        x, cost = scipy_fit(given, start, v, weights)
        better += float(found.residual[v]) <= cost * (1 + margin) or cost < 1e-20
        deviation = found.covariance[:, :, v].diagonal().sqrt().numpy() / 100
        exact = max(float(found.residual[v]), cost) < 1e-20  # as many unknowns as samples
        if (exact or abs(float(found.residual[v]) - cost) <= 1e-6 * cost) and case.name != SADDLE:
            same_valley += 1
            if samples[v] < len(given.free):
                continue  # more unknowns than samples: many solutions are right
            if case.ill_conditioned:
                continue  # along a valley places of one depth may lie apart
            assert np.all(np.abs(found.x[:, v].numpy() - x) <= 1e-3 * deviation + 1e-6 * np.abs(x))
    settled = int(found.converged.sum())
    assert better >= (0.75 * settled if case.ill_conditioned or case.name == SADDLE else settled)
    assert same_valley >= 0.8 * VOXELS or case.ill_conditioned or case.name == SADDLE


@each_model
def test_without_noise_the_truth_comes_back(case: Case, generator: torch.Generator) -> None:
    given = problem(case, 31, 1e12, generator)
    found = fit(given, perturbed(given, generator))
    signal, _ = given.evaluate(found.x, torch.arange(31))
    apart = (signal - given.data).abs().amax(0) / given.data.abs().amax(0)
    assert float((apart < 1e-4).double().mean()) >= (0.9 if case.ill_conditioned else 1.0)


def test_voxels_do_not_see_each_other(generator: torch.Generator) -> None:
    given = problem(BY_NAME["ivim"], 37, 50, generator)
    start = perturbed(given, generator)
    together = fit(given, start)
    for v in range(0, 37, 5):
        alone = Problem(given.model, given.truth[:, v : v + 1], given.data[:, v : v + 1], {})
        one = fit(alone, start[:, v : v + 1])
        torch.testing.assert_close(one.x[:, 0], together.x[:, v], rtol=1e-9, atol=0)
        assert bool(one.converged[0]) == bool(together.converged[v])


def test_bounds_hold_and_the_rest_is_fitted_inside(generator: torch.Generator) -> None:
    given = problem(BY_NAME["mese"], 23, 1e9, generator)
    low = torch.tensor([[0.0], [0.5]], dtype=torch.float64)
    high = torch.tensor([[1e12], [5.0]], dtype=torch.float64)
    short = given.truth[1] < 0.5
    assert bool(short.any())
    found = levenberg_marquardt(given.evaluate, given.data, given.truth.clamp(low, high), low, high)
    assert bool((found.x[1][short] == 0.5).all())
    basis = torch.exp(-given.model.acquisition.tensor("echo_time") / 0.5)[:, None]
    amplitude = (given.data * basis).sum(0) / (basis**2).sum()
    torch.testing.assert_close(found.x[0][short], amplitude[short], rtol=1e-9, atol=0)


def test_what_does_not_settle_is_not_called_converged(generator: torch.Generator) -> None:
    given = problem(BY_NAME["biexponential"], 101, 50, generator)
    found = fit(given, perturbed(given, generator), iterations=2)
    assert not bool(found.converged.all())
    assert bool(torch.isfinite(found.x).all())


def test_starting_values_outside_the_bounds_are_moved_in(generator: torch.Generator) -> None:
    given = problem(BY_NAME["vfa"], 23, 100, generator)
    lower, upper = given.bounds
    outside = fit(given, torch.stack([-torch.ones(23), 1e6 * torch.ones(23)]).double())
    inside = fit(given, perturbed(given, generator))
    assert bool(((outside.x >= lower) & (outside.x <= upper)).all())
    assert bool(torch.isfinite(inside.x).all())
