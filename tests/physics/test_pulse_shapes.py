"""Pulse shapes against their integrals in closed form and by quadrature, and a protocol's known amplitudes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import integrate, special

from fastqmri.core import AcquisitionError, UnknownNameError
from fastqmri.physics.signal import pulse_shapes as pulses

SAMPLES = 2001
OPTIONS = {"gaussian": {"time_bandwidth": 2.04}, "gauss-hann": {"time_bandwidth": 2.04}}


def test_saturation_amplitudes_of_the_qmt_protocol() -> None:
    # 10.2 ms Gauss-Hann of 200 Hz bandwidth, 142° and 426° every 25 ms: 222.6 and 667.7 rad/s, peaks 111 and 333 Hz
    shape = pulses.gauss_hann(512, 200 * 0.0102)
    angles = torch.tensor([142.0, 426.0], dtype=torch.float64).deg2rad()
    found = pulses.continuous_amplitude(angles, shape, 0.0102, 0.025)
    assert [round(float(v), 1) for v in found] == [222.6, 667.7]
    peak = pulses.peak_amplitude(angles, shape, 0.0102) / (2 * math.pi)
    assert [round(float(v)) for v in peak] == [111, 333]


def test_areas_in_closed_form() -> None:
    b, s = 3.0, math.sqrt(math.log(2))
    gauss = 2 * s / (b * math.sqrt(math.pi)) * special.erf(math.pi * b / (4 * s))
    wanted = {
        "hard": (1.0, 1.0),
        "hann": (0.5, 3 / 8),
        "gaussian": (gauss, None),
        "sinc": (2 * special.sici(math.pi * b / 2)[0] / (math.pi * b), None),
        "fermi": (0.6, 0.6 - 0.06),
    }
    options = {
        "gaussian": {"time_bandwidth": b},
        "sinc": {"time_bandwidth": b, "window": "none"},
        "fermi": {"half_width": 0.3, "transition": 0.03},
    }
    for name, (area, power) in wanted.items():
        shape = pulses.pulse_shape(name, SAMPLES, **options.get(name, {}))
        tolerance = 3e-3 if name == "fermi" else 2e-6  # a Fermi pulse's tails beyond its ends are cut
        assert float(pulses.amplitude_integral(shape)) == pytest.approx(area, rel=tolerance)
        if power is not None:
            assert float(pulses.power_integral(shape)) == pytest.approx(power, rel=tolerance)


def test_windowed_shapes_by_quadrature() -> None:
    for window, level in (("hann", 0.5), ("hamming", 0.54)):

        def profile(u: float, level: float = level) -> float:
            return float(np.sinc(4 * u)) * (level + (1 - level) * math.cos(2 * math.pi * u))

        shape = pulses.sinc(SAMPLES, 4, window)  # type: ignore[arg-type]
        area = integrate.quad(profile, -0.5, 0.5, epsabs=1e-12)[0]
        power = integrate.quad(lambda u: profile(u) ** 2, -0.5, 0.5, epsabs=1e-12)[0]
        assert float(pulses.amplitude_integral(shape)) == pytest.approx(area, rel=3e-6)
        assert float(pulses.power_integral(shape)) == pytest.approx(power, rel=6e-6)


def test_bandwidth_of_a_gaussian_is_the_width_of_its_spectrum() -> None:
    time_bandwidth, samples = 6.0, 4096
    u = (torch.arange(samples, dtype=torch.float64) + 0.5) / samples - 0.5
    shape = pulses.gaussian(samples, time_bandwidth)
    centre = shape.sum()
    half = (shape * torch.cos(2 * math.pi * time_bandwidth / 2 * u)).sum()
    assert float(half / centre) == pytest.approx(0.5, abs=1e-6)


def test_hyperbolic_secant_sweeps_its_band() -> None:
    beta, mu, duration = 5.3, 4.9, 0.01
    shape = pulses.hyperbolic_secant(20001, beta, mu)
    phase = np.unwrap(shape.angle().numpy())
    frequency = np.gradient(phase, duration / 20001) / (2 * math.pi)
    band = 2 * mu * beta / (math.pi * duration)
    assert abs(frequency[0] - frequency[-1]) == pytest.approx(band, rel=1e-3)
    assert float(shape.abs()[0]) == pytest.approx(1 / math.cosh(beta), rel=1e-3)


@pytest.mark.parametrize("name", pulses.SHAPES)
@pytest.mark.parametrize("samples", [1, 2, 7, 64])
def test_every_shape_has_unit_peak_and_symmetric_magnitude(name: str, samples: int) -> None:
    shape = pulses.pulse_shape(name, samples, **OPTIONS.get(name, {}))
    assert shape.shape == (samples,)
    magnitude = shape.abs()
    assert float(magnitude.amax()) == pytest.approx(1, abs=1e-15)
    torch.testing.assert_close(magnitude, magnitude.flip(0), rtol=0, atol=1e-12)


def test_amplitudes_carry_gradients() -> None:
    angle = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    pulses.continuous_amplitude(angle, pulses.hann(64), 0.01, 0.04).backward()
    wanted = math.sqrt(3 / 8 * 0.25) / (0.5 * 0.01)
    assert float(angle.grad) == pytest.approx(wanted, rel=1e-12)


def test_refuses_what_is_no_pulse() -> None:
    with pytest.raises(UnknownNameError, match="squarish"):
        pulses.pulse_shape("squarish", 8)
    with pytest.raises(UnknownNameError, match="window"):
        pulses.sinc(8, 4, "blackman")  # type: ignore[arg-type]
    with pytest.raises(AcquisitionError, match="samples"):
        pulses.hann(0)
    with pytest.raises(AcquisitionError, match="time_bandwidth"):
        pulses.gaussian(8, 0.0)
    with pytest.raises(AcquisitionError, match="net area"):
        pulses.peak_amplitude(1.0, torch.tensor([1.0, -1.0]), 0.01)
