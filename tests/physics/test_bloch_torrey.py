"""Diffusion in gradients against closed forms, limits of physics, and finite differences."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.linalg import expm
from scipy.optimize import brentq
from scipy.special import jnp_zeros, spherical_jn
from torch import Tensor

from fastqmri.core import AcquisitionError, PulsedGradient, UnknownNameError
from fastqmri.physics.spins import RestrictedDiffusion
from fastqmri.physics.spins.bloch_torrey import (
    GEOMETRIES,
    b_matrix,
    gaussian_phase,
    pulsed_gradient,
    pulsed_gradient_b_value,
    restricted,
    spectrum,
)

GAMMA = 2 * math.pi * 42.577478518e6
each_geometry = pytest.mark.parametrize("geometry", GEOMETRIES)


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def waveform(*nodes: tuple[float, float], direction: tuple[float, float, float] = (0.6, 0.0, 0.8)) -> Tensor:
    """b-matrix of nodes (time, amplitude)."""
    time, amplitude = tensor(*(t for t, _ in nodes)), tensor(*(g for _, g in nodes))
    return b_matrix(time, amplitude[:, None] * tensor(*direction))


def test_rectangular_pulses_have_the_b_value_of_stejskal_and_tanner() -> None:
    g, short, apart = 0.07, 0.011, 0.031
    ends = [(0, g), (short, g), (short, 0), (apart, 0), (apart, -g), (apart + short, -g), (apart + short, 0)]
    found = waveform(*ends)
    wanted = float(pulsed_gradient_b_value(tensor(g), tensor(short), tensor(apart)))
    assert float(found.trace()) == pytest.approx(wanted, rel=1e-12)
    assert wanted == pytest.approx((GAMMA * g * short) ** 2 * (apart - short / 3) * 1e-6, rel=1e-12)
    axis = tensor(0.6, 0.0, 0.8)
    torch.testing.assert_close(found, wanted * torch.outer(axis, axis), rtol=1e-12, atol=1e-9)


def test_trapezoids() -> None:
    g, rise, flat, apart = 0.05, 0.0013, 0.009, 0.03
    short = rise + flat  # half maximum to half maximum
    lobe = [(0.0, 0.0), (rise, 1.0), (rise + flat, 1.0), (2 * rise + flat, 0.0)]
    nodes = [(t, g * a) for t, a in lobe] + [(apart + t, -g * a) for t, a in lobe]
    timing = short**2 * (apart - short / 3) + rise**3 / 30 - short * rise**2 / 6
    assert float(waveform(*nodes).trace()) == pytest.approx((GAMMA * g) ** 2 * timing * 1e-6, rel=1e-12)


def test_oscillating_gradient() -> None:
    # G cos ωt: q = γG/ω sin ωt, b = γ²G² T/(2 ω²)
    g, period, cycles = 0.2, 0.01, 4
    t = np.linspace(0, cycles * period, 40001)
    w = 2 * np.pi / period
    found = waveform(*zip(t.tolist(), (g * np.cos(w * t)).tolist(), strict=True))
    wanted = (GAMMA * g / w) ** 2 * cycles * period / 2 * 1e-6
    assert float(found.trace()) == pytest.approx(wanted, rel=1e-6)


def test_b_matrix_carries_gradients(generator: torch.Generator) -> None:
    time = tensor(0, 0.001, 0.006, 0.007, 0.02, 0.021, 0.026, 0.027)
    shape = tensor(0, 1, 1, 0, 0, -1, -1, 0)[:, None]

    def b(amplitude: Tensor) -> Tensor:
        return b_matrix(time, shape * amplitude)

    amplitude = tensor(0.03, -0.02, 0.05)
    assert torch.autograd.gradcheck(b, (amplitude.requires_grad_(),), check_forward_ad=True)


def test_refuses_waveforms_that_do_not_refocus_or_run_backwards() -> None:
    with pytest.raises(AcquisitionError, match="balance"):
        waveform((0.0, 0.1), (0.01, 0.1))
    with pytest.raises(AcquisitionError, match="time runs"):
        waveform((0.0, 0.1), (0.01, 0.1), (0.005, 0.0))


def test_modes_are_the_roots_of_bessel_functions() -> None:
    cylinder = np.sort(np.concatenate([[0.0], *(jnp_zeros(n, 8) for n in range(30))]))
    rates = spectrum("cylinder").rate.sqrt().numpy()
    np.testing.assert_allclose(rates, cylinder[: len(rates)], atol=1e-9)
    rates = spectrum("sphere").rate.sqrt().numpy()
    for order in range(3):
        slope = spherical_jn(order, rates[1:], derivative=True)
        assert int((np.abs(slope) < 1e-9).sum()) >= 6
    np.testing.assert_allclose(spectrum("plates").rate.sqrt(), np.arange(16) * np.pi / 2, atol=1e-9)


@each_geometry
def test_moments_complete_the_square_of_the_position(geometry: str) -> None:
    # the sum over all modes of their overlap with the position is its mean square: 1/3, 1/4, 1/5
    modes = spectrum(geometry, 60.0)  # type: ignore[arg-type]
    mean_square = {"plates": 1 / 3, "cylinder": 1 / 4, "sphere": 1 / 5}[geometry]
    assert float((modes.moment[0] ** 2).sum()) == pytest.approx(mean_square, rel=2e-5)


def finite_differences(g: float, short: float, apart: float, d: float, half: float, cells: int) -> complex:
    """PGSE between plates: cells of equal width, walls that nothing passes."""
    width = 2 * half / cells
    x = (np.arange(cells) + 0.5) * width - half
    hop = np.diag(np.full(cells, -2.0)) + np.diag(np.ones(cells - 1), 1) + np.diag(np.ones(cells - 1), -1)
    hop[0, 0] = hop[-1, -1] = -1
    hop *= d / width**2
    turn = 1j * GAMMA * g * np.diag(x)
    state = expm((hop - turn) * short) @ np.ones(cells)
    state = expm((hop + turn) * short) @ (expm(hop * (apart - short)) @ state)
    return complex(state.mean())


@pytest.mark.parametrize("gradient", [0.1, 0.4])
def test_plates_against_finite_differences(gradient: float) -> None:
    short, apart, d, half = 0.006, 0.02, 1.3e-9, 4e-6
    coarse, fine = (finite_differences(gradient, short, apart, d, half, n) for n in (60, 120))
    wanted = (4 * fine - coarse) / 3
    arguments = tensor(gradient), tensor(short), tensor(apart), tensor(d), tensor(half)
    found = pulsed_gradient(spectrum("plates"), *arguments)
    assert abs(wanted.imag) < 1e-9
    assert float(found) == pytest.approx(wanted.real, abs=2e-6)


@each_geometry
def test_free_diffusion_in_large_pores(geometry: str) -> None:
    # few spins reach the walls: the attenuation of free diffusion, up to the share of those at the walls
    g, short, apart, d, radius = tensor(0.02), tensor(0.002), tensor(0.006), tensor(1e-9), tensor(60e-6)
    b = float(pulsed_gradient_b_value(g, short, apart))
    found = float(pulsed_gradient(spectrum(geometry, 40.0), g, short, apart, d, radius))  # type: ignore[arg-type]
    surface = GEOMETRIES.index(geometry) + 1
    # Mitra: D(t) = D (1 - 4/(9√π) S/V √(Dt)) in three dimensions, averaged over directions of the walls alike
    slower = 4 / (3 * math.sqrt(math.pi)) * surface / 60e-6 * math.sqrt(1e-9 * 0.006) / surface
    wanted = math.exp(-b * 1e-3 * (1 - slower))
    assert found == pytest.approx(wanted, abs=2e-2 * (1 - wanted))


def test_narrow_pulses_between_plates() -> None:
    # Tanner and Stejskal, the pulses so short that nothing moves in them
    length, d, apart, short = 10e-6, 1e-9, 0.05, 1e-6
    for turns in (0.3, 0.8, 1.3):
        q = 2 * math.pi * turns / length
        g = q / (GAMMA * short)
        arguments = tensor(g), tensor(short), tensor(apart), tensor(d), tensor(length / 2)
        found = float(pulsed_gradient(spectrum("plates", 60.0), *arguments))
        ql = q * length
        wanted = 2 * (1 - math.cos(ql)) / ql**2
        for n in range(1, 60):
            decay = math.exp(-((n * math.pi / length) ** 2) * d * apart)
            wanted += 4 * ql**2 * decay * (1 - (-1) ** n * math.cos(ql)) / (ql**2 - (n * math.pi) ** 2) ** 2
        assert found == pytest.approx(wanted, abs=2e-4)  # moved by sqrt(D δ), 0.3 % of the distance


def test_gaussian_phases_in_cylinders_and_spheres() -> None:
    g, short, apart, d, radius = 0.1, 0.012, 0.03, 1.1e-9, 3e-6
    arguments = tensor(g), tensor(short), tensor(apart), tensor(d), tensor(radius)
    bracket = np.linspace(1.0, 200.0, 2000)

    def slope(x: float) -> float:
        return float(spherical_jn(1, x, derivative=True))

    pairs = itertools.pairwise(bracket)
    spheres = [brentq(slope, low, high, xtol=1e-13) for low, high in pairs if slope(low) * slope(high) < 0]
    for geometry, roots, less in (("cylinder", jnp_zeros(1, 60), 1), ("sphere", spheres, 2)):
        a = np.asarray(roots) / radius
        rate = d * a**2
        terms = 2 * rate * short - 2 + 2 * np.exp(-rate * short) + 2 * np.exp(-rate * apart)
        terms -= np.exp(-rate * (apart - short)) + np.exp(-rate * (apart + short))
        logarithm = -2 * (GAMMA * g) ** 2 * np.sum(terms / (d**2 * a**6 * (a**2 * radius**2 - less)))
        found = float(gaussian_phase(spectrum(geometry, 60.0), *arguments))  # type: ignore[arg-type]
        assert math.log(found) == pytest.approx(logarithm, rel=1e-6)


@each_geometry
def test_weak_gradients_make_phases_gaussian(geometry: str) -> None:
    modes = spectrum(geometry)  # type: ignore[arg-type]
    g = tensor(1e-3, 2e-3)
    arguments = tensor(0.01), tensor(0.03), tensor(1e-9), tensor(5e-6)
    exact, gaussian = (solve(modes, g, *arguments).log() for solve in (pulsed_gradient, gaussian_phase))
    assert float((exact / gaussian - 1).abs().max()) < 2e-3
    # the difference is of the fourth order in the gradient
    apart = (exact - gaussian).abs()
    assert float(apart[1] / apart[0]) == pytest.approx(16, rel=0.05)


@each_geometry
def test_motional_averaging(geometry: str) -> None:
    # small pores, long pulses: ln S = -c γ²G²R⁴ δ/D·…, c = 4/15·… of Robertson 1966 and Neuman 1974
    constant = {"plates": 4 / 15, "cylinder": 7 / 48, "sphere": 16 / 175}[geometry]
    g, short, apart, d, radius = 0.2, 0.03, 0.06, 2e-9, 1e-6
    arguments = tensor(g), tensor(short), tensor(apart), tensor(d), tensor(radius)
    found = float(pulsed_gradient(spectrum(geometry), *arguments).log())  # type: ignore[arg-type]
    wanted = -constant * (GAMMA * g) ** 2 * radius**4 * short / d
    assert found == pytest.approx(wanted, rel=0.03)


@each_geometry
def test_any_waveform_agrees_with_the_two_pulses(geometry: str) -> None:
    modes = spectrum(geometry, 12.0)  # type: ignore[arg-type]
    d, radius = tensor(1e-9, 2e-9), tensor(4e-6, 6e-6)
    pieces = restricted(modes, tensor(0.2, 0.2, 0.0, -0.2), tensor(0.003, 0.004, 0.02, 0.007), d, radius)
    pulses = pulsed_gradient(modes, tensor(0.2), tensor(0.007), tensor(0.027), d, radius)
    torch.testing.assert_close(pieces, pulses, rtol=0, atol=1e-12)
    still = restricted(modes, tensor(0.0, 0.0), tensor(0.1, 0.2), d, radius)
    torch.testing.assert_close(still, torch.ones_like(still), rtol=0, atol=1e-12)


@each_geometry
def test_more_modes_change_nothing(geometry: str) -> None:
    radius = tensor(1e-6, 3e-6, 6e-6)
    arguments = tensor(0.2), tensor(0.008), tensor(0.03), tensor(1e-9), radius
    few, many = (pulsed_gradient(spectrum(geometry, n), *arguments) for n in (16.0, 30.0))  # type: ignore[arg-type]
    assert float((few - many).abs().max()) < 2e-6


@each_geometry
def test_stronger_gradients_take_more_modes(geometry: str) -> None:
    # γ G R³/D just below and above what the rule parts at, and far above; pulses back to back near (γG)^-⅔ D^-⅓ are
    # where too few modes err most
    duration = (0.003, 0.0045, 0.0056, 0.008)
    scan = PulsedGradient(
        gradient_amplitude=(0.3, 0.3, 0.3, 0.29),
        pulse_duration=duration,
        pulse_separation=tuple(time + 1e-6 for time in duration),
    )
    strength = tensor(3.0, 19.9, 20.1, 99.0, 300.0, 1000.0)
    radius = (strength * 1e-9 / (GAMMA * 0.3)) ** (1 / 3)
    model = RestrictedDiffusion(scan, geometry, "exact")  # type: ignore[arg-type]
    found = model(torch.stack([torch.ones(6).double(), torch.full((6,), 1e-3).double(), 1e6 * radius]))
    finest = spectrum(geometry, 60.0 if geometry == "plates" else 38.0)  # type: ignore[arg-type]
    columns = (scan.gradient_amplitude, scan.pulse_duration, scan.pulse_separation)
    timing = [tensor(*values)[:, None] for values in columns]
    diffusivity = torch.full_like(radius, 1e-9)
    wanted = pulsed_gradient(finest, *timing, diffusivity, radius)
    worst = (found - wanted).abs().amax(0)
    print(geometry, worst.tolist())
    assert float(worst[:4].max()) < 1e-5
    assert float(worst[4:].max()) < 1e-4
    # the fewest wave numbers for all would break both bounds
    few = pulsed_gradient(spectrum(geometry, 16.0), *timing, diffusivity, radius)  # type: ignore[arg-type]
    worst = (few - wanted).abs().amax(0)
    print(geometry, "wave numbers to 16:", worst.tolist())
    assert float(worst[3]) > 1e-5
    assert float(worst[5]) > 1e-4


def test_refuses_unknown_geometries_and_timings() -> None:
    with pytest.raises(UnknownNameError, match="cube"):
        spectrum("cube")  # type: ignore[arg-type]
    with pytest.raises(AcquisitionError, match="before the first ends"):
        PulsedGradient(gradient_amplitude=(0.0, 0.1), pulse_duration=0.02, pulse_separation=0.01)
    with pytest.raises(AcquisitionError, match="every image"):
        PulsedGradient(gradient_amplitude=(0.0, 0.1), pulse_duration=(0.01,) * 3, pulse_separation=0.02)
    one = PulsedGradient(
        gradient_amplitude=("0T/m", "100mT/m"), pulse_duration="10ms", pulse_separation="20ms"
    )
    assert one.pulse_duration == (0.01, 0.01)
    assert RestrictedDiffusion(one)(tensor(1.0, 1e-3, 4.0)).shape == (2,)
