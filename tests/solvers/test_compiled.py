"""Compiled kernels against the general solver, their oracle; the same bytes on any number of threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from fastqmri.solvers import dispatch
from fastqmri.solvers.levenberg_marquardt import levenberg_marquardt
from fastqmri.solvers.linear import regression
from fastqmri.solvers.solution import Solution
from physics.checks import Case
from physics.registry import BY_NAME, CASES
from solvers.problems import Problem, problem

VOXELS = 997  # no multiple of the lanes
SNR = 100
STRUCTURED = [
    case
    for case in CASES
    if (model := case.build().signed() or case.build()).separable() is not None
    or model.log_linear() is not None
]
each_structured = pytest.mark.parametrize("case", STRUCTURED, ids=lambda case: case.name)

pytestmark = pytest.mark.skipif(dispatch.kernels() is None, reason="numba is not installed")


def given(case: Case, generator: torch.Generator, voxels: int = VOXELS) -> Problem:
    made = problem(case, voxels, SNR, generator)
    if made.model.log_linear() is not None:
        made.data.clamp_(min=1e-4)
    return made


def weights(made: Problem, generator: torch.Generator) -> Tensor:
    """Uneven, and zero for one sample of every third voxel."""
    drawn = 0.2 + torch.rand(made.data.shape, dtype=torch.float64, generator=generator)
    drawn[1, ::3] = 0
    return drawn


def compiled(made: Problem, weight: Tensor | None) -> Solution:
    """The kernel that belongs to the model's structure, in the model's parameters."""
    separable = made.model.separable()
    if separable is None or separable.kind == "logarithmic":
        line = made.model.log_linear(made.known)
        assert line is not None
        z = dispatch.fit_log_linear(made.data, weight, line.design, passes=1, iterations=60)
        return z.transformed(*line.to_parameters(z.x))
    if separable.kind == "exponential":
        z = dispatch.fit_exponential(
            made.data, weight, separable.abscissa[0], separable.bounds, constant=separable.constant
        )
    else:
        sine, cosine = separable.abscissa[:, :, None]
        if separable.scale in made.known:
            assert separable.angles is not None
            angle = separable.angles[:, None] * made.known[separable.scale]
            sine, cosine = torch.sin(angle), torch.cos(angle)
        z = dispatch.fit_rational(made.data, weight, sine, cosine, separable.bounds)
    return z.transformed(*separable.to_parameters(z.x))


def general(made: Problem, weight: Tensor | None) -> Solution:
    return levenberg_marquardt(
        made.evaluate, made.data, made.estimated, *made.bounds, weights=weight, iterations=300
    )


def assert_agree(found: Solution, wanted: Solution, made: Problem, least: float) -> None:
    """Parameters to 1e-5 or a thousandth of their standard deviation, covariances to 1e-4 of theirs."""
    lower, upper = made.bounds
    inside = found.converged & wanted.converged
    for solution in (found, wanted):
        inside &= ((solution.x > lower) & (solution.x < upper)).all(0)
    assert float(inside.double().mean()) >= least
    worse = (found.residual - wanted.residual) / wanted.residual
    assert float(worse[inside].max()) < 1e-6, "the kernel stopped short of the general solver's optimum"
    unit = wanted.covariance.diagonal().T.clamp_min(0).sqrt()
    deviation = unit * made.data.abs().amax(0) / SNR
    allowed = torch.maximum(1e-5 * wanted.x.abs(), 1e-3 * deviation)
    assert float(((found.x - wanted.x).abs() / allowed)[:, inside].max()) <= 1
    apart = ((found.covariance - wanted.covariance).abs() / (unit[:, None] * unit[None])).amax((0, 1))[inside]
    assert float(apart.quantile(0.99)) < 1e-4
    assert float(apart.max()) < 2e-3, "ill-conditioned voxels magnify the stopping rule"


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@each_structured
def test_against_the_general_solver(case: Case, weighted: bool, generator: torch.Generator) -> None:
    made = given(case, generator)
    weight = weights(made, generator) if weighted else None
    found = compiled(made, weight)
    assert float(found.converged.double().mean()) > 0.99
    assert_agree(found, general(made, weight), made, 0.8 if case.name == "mese-offset" else 0.95)


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_nominal_angles_shared_by_all_voxels(weighted: bool, generator: torch.Generator) -> None:
    made = given(BY_NAME["vfa"], generator)
    truth = made.truth.clone()
    truth[2] = 1
    noise = torch.randn(made.data.shape, dtype=torch.float64, generator=generator) / 1000
    plain = Problem(made.model, truth, made.model(truth) + noise * made.data.abs().amax(0), {})
    weight = weights(plain, generator) if weighted else None
    found = compiled(plain, weight)
    assert_agree(found, general(plain, weight), plain, 0.95)
    ones = Problem(plain.model, truth, plain.data, {"B1": torch.ones(VOXELS, dtype=torch.float64)})
    torch.testing.assert_close(found.x, compiled(ones, weight).x, rtol=1e-9, atol=0)


@each_structured
def test_weights_of_one_change_nothing(case: Case, generator: torch.Generator) -> None:
    made = given(case, generator)
    found, plain = compiled(made, torch.ones_like(made.data)), compiled(made, None)
    deviation = plain.covariance.diagonal().T.clamp_min(0).sqrt() * made.data.abs().amax(0) / SNR
    apart = (found.x - plain.x).abs() / torch.maximum(deviation, 1e-3 * plain.x.abs())
    assert float(apart.quantile(0.99)) < 1e-6
    assert float(apart.max()) < 1e-2


def test_uneven_times_in_any_order(generator: torch.Generator) -> None:
    made = given(BY_NAME["mese-uneven"], generator)
    separable = made.model.separable()
    assert separable is not None
    times = separable.abscissa[0]
    order = times.argsort()
    for weight in (None, weights(made, generator)):
        found, ascending = (
            dispatch.fit_exponential(
                made.data[o],
                None if weight is None else weight[o],
                times[o],
                separable.bounds,
                constant=False,
            )
            for o in (torch.arange(len(times)), order)
        )
        assert torch.equal(found.x, ascending.x)


@pytest.mark.parametrize("passes", [1, 3])
def test_reweighted_logarithms_against_plain_regression(passes: int, generator: torch.Generator) -> None:
    made = given(BY_NAME["dti"], generator)
    line = made.model.log_linear()
    assert line is not None
    for weight in (None, weights(made, generator)):
        found = dispatch.fit_log_linear(made.data, weight, line.design, passes=passes)
        used = torch.ones_like(made.data) if weight is None else weight
        predicted = torch.ones_like(made.data)
        for _ in range(passes + 1):
            beta, covariance = regression(
                line.design, made.data.log(), used * predicted**2, 1 / (used * predicted**2)
            )
            predicted = torch.exp(line.design @ beta)
        torch.testing.assert_close(found.x, beta, rtol=1e-8, atol=1e-10)
        if weight is None:
            torch.testing.assert_close(found.covariance, covariance, rtol=1e-7, atol=1e-12)
        residual = (used * (made.data - predicted) ** 2).sum(0)
        torch.testing.assert_close(found.residual, residual, rtol=1e-7, atol=1e-14)


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("name", ["vfa", "mese", "irt1-real-free", "dti"])
def test_one_thread_and_two_give_the_same_bytes(name: str, generator: torch.Generator) -> None:
    made = given(BY_NAME[name], generator, voxels=3 * 4096 + 77)
    for weight in (None, weights(made, generator)):
        results = []
        for count in (1, 2):
            with threads(count):
                results.append(compiled(made, weight))
        for part in ("x", "covariance", "residual", "converged"):
            assert torch.equal(getattr(results[0], part), getattr(results[1], part)), part


@pytest.mark.parametrize("name", ["vfa", "mese", "mese-offset", "irt1-real-free", "dti"])
def test_a_voxels_result_does_not_depend_on_its_neighbours(name: str, generator: torch.Generator) -> None:
    made = given(BY_NAME[name], generator, voxels=331)
    whole = compiled(made, None)
    for begin, end in ((0, 1), (7, 64), (63, 130), (130, 331)):
        part = Problem(
            made.model,
            made.truth[:, begin:end],
            made.data[:, begin:end],
            {k: v[begin:end] for k, v in made.known.items()},
        )
        found = compiled(part, None)
        assert torch.equal(found.x, whole.x[:, begin:end])
        assert torch.equal(found.covariance, whole.covariance[:, :, begin:end])


def test_only_real_data_without_gradients_on_the_processor() -> None:
    data = torch.ones(3, 5, dtype=torch.float64)
    assert dispatch.usable(data)
    assert not dispatch.usable(data.to(torch.complex128))
    assert not dispatch.usable(data.clone().requires_grad_())
