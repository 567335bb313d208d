"""Absorption lineshapes against quadrature by another program, and their derivatives against automatic ones."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.integrate import quad
from torch import Tensor

from fastqmri.core import UnknownNameError
from fastqmri.physics.signal import lineshapes
from fastqmri.physics.signal.lineshapes import LINESHAPES, absorption, absorption_with_slopes

OFFSETS = torch.tensor([-40e3, -3000.0, 1501.0, 1850.0, 2732.0, 6862.0, 17235.0], dtype=torch.float64)
TIMES = torch.tensor([3e-6, 8e-6, 12e-6, 60e-6], dtype=torch.float64)


def integral(offset: float, t2: float) -> float:
    """The super-Lorentzian by adaptive quadrature on either side of its singularity."""

    def integrand(u: float) -> float:
        v = 3 * u * u - 1
        if v == 0:
            return 0.0
        return math.sqrt(2 / math.pi) * t2 / abs(v) * math.exp(-2 * (2 * math.pi * offset * t2 / v) ** 2)

    magic = 1 / math.sqrt(3)
    return sum(
        quad(integrand, *ends, epsabs=0, epsrel=1e-12, limit=500)[0] for ends in ((0, magic), (magic, 1))
    )


def test_super_lorentzian_against_adaptive_quadrature() -> None:
    found = lineshapes.super_lorentzian(OFFSETS[:, None], TIMES)
    wanted = torch.tensor(
        [[integral(float(d), float(t)) for t in TIMES] for d in OFFSETS], dtype=torch.float64
    )
    assert float(wanted.min()) > 0
    assert float((found / wanted - 1).abs().max()) < 1e-8


def test_table_against_its_integral() -> None:
    x = torch.logspace(-7, 1.5, 1999, dtype=torch.float64)
    h, xh = lineshapes._super_lorentzian(x)
    exact, slope = lineshapes._integral(x)
    damping = torch.exp(-x * x / 2)
    assert float((h / (exact * damping) - 1).abs().max()) < 1e-8
    assert float((xh / (slope * damping) - 1).abs().max()) < 1e-6


@pytest.mark.parametrize("kind", LINESHAPES)
def test_area_is_one(kind: str) -> None:
    """A lineshape is a density over angular offsets: ∫ G dω = 1."""
    t2 = 10e-6
    x = torch.logspace(-8, 8, 200_001, dtype=torch.float64)
    h = LINESHAPES[kind](x)[0]
    area = 2 * float(torch.trapezoid(h * x, x.log()))
    assert area == pytest.approx(1, abs=1e-6)
    beyond = torch.tensor([2e3, 9e3], dtype=torch.float64)
    assert torch.equal(
        absorption(kind, beyond, torch.tensor(t2)), absorption(kind, -beyond, torch.tensor(t2))
    )


@pytest.mark.parametrize("kind", LINESHAPES)
def test_slopes(kind: str) -> None:
    """First derivatives are the automatic ones of both modes, on either side of the bridge and at its centre."""
    offset, t2 = torch.meshgrid(
        torch.cat([OFFSETS, torch.tensor([-900.0, 0.0, 443.0], dtype=torch.float64)]), TIMES, indexing="ij"
    )

    def shape(d: Tensor, t: Tensor) -> Tensor:
        return absorption(kind, d, t)

    offset, t2 = offset.contiguous(), t2.contiguous()
    value, by_t2, by_offset = absorption_with_slopes(kind, offset, t2)
    one, zero = torch.ones_like(t2), torch.zeros_like(t2)
    same, forward_t2 = torch.func.jvp(shape, (offset, t2), (zero, one))
    _, forward_offset = torch.func.jvp(shape, (offset, t2), (one, zero))
    leaves = offset.clone().requires_grad_(), t2.clone().requires_grad_()
    backward = torch.autograd.grad(shape(*leaves).sum(), leaves)
    assert torch.equal(value, same)
    for analytic, automatic in (
        (by_t2, forward_t2),
        (by_t2, backward[1]),
        (by_offset, forward_offset),
        (by_offset, backward[0]),
    ):
        torch.testing.assert_close(analytic, automatic, rtol=1e-9, atol=1e-18)


def test_single_precision() -> None:
    exact = lineshapes.super_lorentzian(OFFSETS[:, None], TIMES[:3])
    single = lineshapes.super_lorentzian(OFFSETS.float()[:, None], TIMES[:3].float())
    assert single.dtype == torch.float32
    assert float((single / exact - 1).abs()[exact > 1e-12].max()) < 2e-5


def test_bridge() -> None:
    """The rule's own numbers: it stops at 1140 Hz, meets the straight line at 1500 Hz, and is finite at zero."""
    offsets = torch.tensor([0.0, 443.0, -443.0, 1500.0, 1500.001], dtype=torch.float64)
    moved = lineshapes.bridged(offsets)
    torch.testing.assert_close(moved[:3], torch.tensor([1140, 1171.39984, 1171.39984], dtype=torch.float64))
    assert float(moved[4] - moved[3]) == pytest.approx(0.001)
    at_centre = lineshapes.super_lorentzian(offsets[0], torch.tensor(12e-6, dtype=torch.float64))
    assert float(at_centre) == pytest.approx(1.4e-5, rel=1e-3)  # what is used on resonance at 12 µs


def test_unknown_lineshape() -> None:
    with pytest.raises(UnknownNameError, match="superlorentzian"):
        absorption("triangle", OFFSETS, TIMES[0])
