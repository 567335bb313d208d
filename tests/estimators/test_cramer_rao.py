"""The Cramér-Rao bound against closed forms, numerical Fisher matrices and quadrature."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import integrate, special, stats
from torch import Tensor

from fastqmri.core import DataError, MultiEchoSpinEcho, Parameter, VariableFlipAngle
from fastqmri.estimators import cramer_rao_bound
from fastqmri.physics.signal import ExponentialDecay, SignalModel, SpoiledGradientEcho
from physics.checks import Case
from physics.registry import BY_NAME, CASES

SIGMA = 0.013


class Level(SignalModel):
    """One unknown: the height of a constant."""

    title = "Constant"
    equation = "M0"

    def __init__(self, count: int) -> None:
        acquisition = MultiEchoSpinEcho(echo_time=tuple(0.01 * (i + 1) for i in range(count)))
        super().__init__(acquisition, (Parameter("M0", "arbitrary", (0.0, 1e12), (0.5, 1.5), "height"),))

    def forward(self, x: Tensor) -> Tensor:
        return x[0].expand(self.acquisition.contrasts, *x.shape[1:]).clone()

    def jacobian(self, x: Tensor) -> Tensor:
        return torch.ones(self.acquisition.contrasts, 1, *x.shape[1:], dtype=x.dtype)


@pytest.mark.parametrize("count", [2, 7, 50])
def test_mean_of_a_constant(count: int) -> None:
    x = torch.tensor([[0.3, 1.0, 20.0]], dtype=torch.float64)
    names, bound = cramer_rao_bound(Level(count), x, SIGMA)
    assert names == ("M0",)
    torch.testing.assert_close(bound, torch.full_like(bound, SIGMA / math.sqrt(count)), rtol=1e-12, atol=0)


@pytest.mark.parametrize("snr", [0.5, 1.0, 2.0, 5.0])
def test_height_of_a_rician_constant(snr: float) -> None:
    def information(m: float) -> float:
        score = m * special.i1e(m * snr) / special.i0e(m * snr) - snr
        return stats.rice(snr).pdf(m) * score**2

    fisher, _ = integrate.quad(information, max(0.0, snr - 9), snr + 10, limit=200)
    x = torch.tensor([[snr * SIGMA]], dtype=torch.float64)
    _, bound = cramer_rao_bound(Level(9), x, SIGMA, rician=True)
    assert float(bound) == pytest.approx(SIGMA / math.sqrt(9 * fisher), rel=2e-3)


def test_two_echoes_by_hand() -> None:
    # T2 = Δ/ln(S1/S2): errors of both echoes propagate
    acquisition = MultiEchoSpinEcho(echo_time=(0.02, 0.07))
    t2 = torch.linspace(0.02, 0.2, 9, dtype=torch.float64)
    s1, s2 = torch.exp(-0.02 / t2), torch.exp(-0.07 / t2)
    wanted = t2**2 / 0.05 * SIGMA * (1 / s1**2 + 1 / s2**2).sqrt()
    names, bound = cramer_rao_bound(
        ExponentialDecay(acquisition), torch.stack([torch.ones_like(t2), t2]), SIGMA
    )
    torch.testing.assert_close(bound[names.index("T2")], wanted, rtol=1e-10, atol=0)
    torch.testing.assert_close(bound[names.index("R2")], wanted / t2**2, rtol=1e-10, atol=0)


def test_two_flip_angles_by_hand() -> None:
    # E = (S1/sin1 - S2/sin2)/(S1/tan1 - S2/tan2): two images, two unknowns, an exact solution
    angles = (math.radians(3), math.radians(18))
    model = SpoiledGradientEcho(VariableFlipAngle(flip_angle=angles, repetition_time=0.005))
    x = torch.tensor([1.0, 1.1, 1.0], dtype=torch.float64)[:, None]
    s = model(x)[:, 0]

    def t1(s: Tensor) -> Tensor:
        a, b = (math.sin(angle) for angle in angles)
        c, d = (math.tan(angle) for angle in angles)
        return -0.005 / torch.log((s[0] / a - s[1] / b) / (s[0] / c - s[1] / d))

    assert float(t1(s)) == pytest.approx(1.1, rel=1e-9)
    wanted = SIGMA * float(torch.func.grad(t1)(s).norm())
    names, bound = cramer_rao_bound(model, x, SIGMA)
    assert float(bound[names.index("T1"), 0]) == pytest.approx(wanted, rel=1e-9)


def differences(model: SignalModel, x: Tensor) -> Tensor:
    """Jacobian by central differences, (sample, parameter), of x (parameter,); complex samples in two parts."""
    columns = []
    for i in range(len(x)):
        step = torch.zeros_like(x)
        step[i] = 1e-5 * (x[i].abs() + (1e-6 if float(x[0]) else 1.0))
        slope = (model(x + step) - model(x - step)) / (2 * step[i])
        columns.append(torch.cat([slope.real, slope.imag]) if slope.is_complex() else slope)
    return torch.stack(columns, 1)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_numerical_fisher_matrix(case: Case, generator: torch.Generator) -> None:
    model, x = case.build(), case.tissue(generator, (5,))
    names, bound = cramer_rao_bound(model, x, SIGMA)
    free = list(model.estimated)
    if not case.determined:
        assert bool(torch.isinf(bound).all())
        return
    for v in range(5):
        j = differences(model, x[:, v])[:, free]
        unit = j / j.norm(dim=0)
        if float(torch.linalg.cond(unit)) > 1e4:
            continue  # differences are not good for more
        covariance = torch.linalg.inv(unit.T @ unit) / j.norm(dim=0)[:, None] / j.norm(dim=0)
        wanted = SIGMA * covariance.diagonal().sqrt()
        torch.testing.assert_close(bound[: len(free), v], wanted, rtol=2e-3, atol=0)
        for row, derived in enumerate(model.derived, start=len(free)):
            gradient = derived.evaluate(x[:, v : v + 1])[1][free, 0]
            spread = SIGMA * (gradient @ covariance @ gradient).sqrt()
            assert names[row] == derived.parameter.name
            assert float(bound[row, v]) == pytest.approx(float(spread), rel=2e-3)


def test_rician_bound_is_never_below_the_gaussian_one(generator: torch.Generator) -> None:
    for name in ("vfa", "mese", "dti", "adc"):
        case = BY_NAME[name]
        model, x = case.build(), case.tissue(generator, (3, 1, 5))
        for sigma in (1e-4, 0.05):
            names, plain = cramer_rao_bound(model, x, sigma)
            again, rician = cramer_rao_bound(model, x, sigma, rician=True)
            assert names == again
            assert plain.shape == (len(names), 3, 1, 5)
            assert bool((rician >= 0.999 * plain).all())


def test_noise_map(generator: torch.Generator) -> None:
    model, x = BY_NAME["mese"].build(), BY_NAME["mese"].tissue(generator, (3, 5))
    sigma = 0.01 + torch.rand(3, 5, dtype=torch.float64, generator=generator)
    _, unit = cramer_rao_bound(model, x, 1.0)
    _, bound = cramer_rao_bound(model, x, sigma)
    torch.testing.assert_close(bound, unit * sigma, rtol=1e-10, atol=0)


def test_what_the_acquisition_cannot_tell_apart_is_unbounded() -> None:
    # at small angles the signal depends on B1² T1 alone
    small = SpoiledGradientEcho(VariableFlipAngle(flip_angle=(0.05, 0.1, 0.2), repetition_time=0.005))
    x = torch.tensor([1.0, 1.0, 1.0], dtype=torch.float64)[:, None]
    names, known = cramer_rao_bound(small, x, SIGMA)
    both, unknown = cramer_rao_bound(small, x, SIGMA, also_unknown=("B1",))
    assert names == ("M0", "T1", "R1")
    assert both == ("M0", "T1", "B1", "R1")
    assert float(unknown[1, 0]) > 100 * float(known[1, 0])
    two = SpoiledGradientEcho(VariableFlipAngle(flip_angle=(0.05, 0.2), repetition_time=0.005))
    _, none = cramer_rao_bound(two, x, SIGMA, also_unknown=("B1",))
    assert bool(torch.isinf(none).all())


@pytest.mark.parametrize("noise", [0.0, -1.0])
def test_a_bound_needs_noise(noise: float) -> None:
    with pytest.raises(DataError):
        cramer_rao_bound(Level(3), torch.ones(1, 2, dtype=torch.float64), noise)
