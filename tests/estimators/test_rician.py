"""The Rician likelihood: its pieces against quadrature, its optimum against a direct search, its bias at low SNR."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import integrate, optimize, special, stats

from estimators.scans import repeated, scan
from fastqmri.core import DataError, Flag, Measurement, MultiEchoSpinEcho
from fastqmri.estimators import CATALOGUE, cramer_rao_bound
from fastqmri.estimators.rician import background_noise, bessel_ratio, expected_magnitude, information_factor
from fastqmri.physics.signal import ApparentDiffusion, ExponentialDecay
from physics.cases.diffusion import TRACE
from physics.cases.relaxometry import SPIN_ECHOES

SNRS = [0.0, 0.05, 0.3, 1.0, 1.33, 2.0, 3.7, 5.0, 10.0, 19.9]


def score(m: float, a: float) -> float:
    """Derivative of the logarithm of the Rician density by the signal, for unit noise."""
    return m * special.i1e(m * a) / special.i0e(m * a) - a


@pytest.mark.parametrize("snr", SNRS)
def test_information_against_quadrature(snr: float) -> None:
    density = stats.rice(snr).pdf
    wanted, _ = integrate.quad(
        lambda m: density(m) * score(m, snr) ** 2, max(0.0, snr - 9), snr + 10, epsabs=1e-10, limit=200
    )
    found = float(information_factor(torch.tensor(snr, dtype=torch.float64)))
    assert found == pytest.approx(wanted, abs=3e-4)


def test_information_grows_to_the_gaussian_one() -> None:
    snr = torch.linspace(0, 1000, 5001, dtype=torch.float64)
    factor = information_factor(snr)
    assert bool((factor.diff() >= -1e-9).all())
    assert float(factor[0]) == pytest.approx(0, abs=1e-6)
    assert float(factor[-1]) == pytest.approx(1, abs=3e-3)
    assert information_factor(torch.tensor([1.0])).dtype == torch.float32


@pytest.mark.parametrize("snr", SNRS)
def test_expected_magnitude_against_the_distribution(snr: float) -> None:
    found = expected_magnitude(torch.tensor(3.0 * snr, dtype=torch.float64), 3.0)
    assert float(found) == pytest.approx(3.0 * stats.rice(snr).mean(), rel=1e-9)


def test_bessel_ratio_does_not_overflow() -> None:
    z = torch.tensor([0.0, 1e-3, 1.0, 50.0, 1e4, 1e12], dtype=torch.float64)
    found = bessel_ratio(z)
    torch.testing.assert_close(
        found[:4], torch.from_numpy(special.ive(1, z[:4].numpy()) / special.ive(0, z[:4].numpy()))
    )
    assert bool((found[3:] <= 1).all())
    assert float(found[-1]) == pytest.approx(1, abs=1e-9)


def test_optimum_against_a_direct_search(generator: torch.Generator) -> None:
    model = ExponentialDecay(SPIN_ECHOES)
    measurement = repeated(model, [1.0, 0.05], 8, 12, generator, rician=True)
    found = CATALOGUE["mese"].estimator(model, noise="rician").estimate(measurement)
    te = np.array(SPIN_ECHOES.echo_time)
    sigma = measurement.noise
    assert sigma is not None
    for v in range(12):
        m = measurement.data[:, v].numpy()

        def cost(x: np.ndarray, m: np.ndarray = m) -> float:
            s = x[0] * np.exp(-te / x[1])
            z = m * s / sigma**2
            return float(np.sum(s**2 / (2 * sigma**2) - np.log(special.i0e(z)) - z))

        best = optimize.minimize(
            cost, [1.0, 0.05], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}
        )
        for name, wanted in zip(("M0", "T2"), best.x, strict=True):
            apart = abs(float(found[name].value[v]) - wanted) / float(found[name].standard_deviation[v])
            assert apart < 0.01, (name, v)


@pytest.mark.parametrize("method", ["auto", "ols", "wls"])
def test_bias_at_low_snr_adc(method: str, generator: torch.Generator) -> None:
    model = ApparentDiffusion(TRACE)
    measurement = repeated(model, [1.0, 1.2e-3], 5, 4000, generator, rician=True)
    medians = {}
    for noise in ("gaussian", "rician"):
        found = CATALOGUE["adc"].estimator(model, method, noise=noise).estimate(measurement)
        medians[noise] = float(found["ADC"].value.median()) / 1.2e-3 - 1
    assert medians["gaussian"] < -0.1, medians
    assert abs(medians["rician"]) < 0.03, medians


def test_bias_at_low_snr_t2(generator: torch.Generator) -> None:
    # 4000 voxels at a peak SNR of 5; the standard error of the median is about 0.8 %
    model = ExponentialDecay(SPIN_ECHOES)
    measurement = repeated(model, [1.0, 0.05], 5, 4000, generator, rician=True)
    bias, deviation = {}, {}
    for noise in ("gaussian", "rician"):
        found = CATALOGUE["mese"].estimator(model, noise=noise).estimate(measurement)["T2"]
        bias[noise] = float(found.value.median()) / 0.05 - 1
        deviation[noise] = float(found.value.std()) / 0.05
    assert bias["gaussian"] > 0.2, bias
    assert abs(bias["rician"]) < 0.03, bias
    assert abs(bias["rician"]) < 0.15 * bias["gaussian"]


def test_standard_deviations_at_moderate_snr(generator: torch.Generator) -> None:
    model = ExponentialDecay(SPIN_ECHOES)
    x = [1.0, 0.05]
    measurement = repeated(model, x, 15, 8000, generator, rician=True)
    assert measurement.noise is not None
    found = CATALOGUE["mese"].estimator(model, noise="rician").estimate(measurement)["T2"]
    names, bound = cramer_rao_bound(
        model, torch.tensor(x, dtype=torch.float64)[:, None], measurement.noise, rician=True
    )
    empirical = float(found.value.std())
    assert float(found.standard_deviation.median()) == pytest.approx(empirical, rel=0.05)
    assert empirical == pytest.approx(float(bound[names.index("T2"), 0]), rel=0.05)
    _, gaussian = cramer_rao_bound(model, torch.tensor(x, dtype=torch.float64)[:, None], measurement.noise)
    assert float(gaussian[1, 0]) < float(bound[1, 0])


def test_high_snr_makes_no_difference(generator: torch.Generator) -> None:
    made = scan("mese", (5, 3, 7), 500, generator)
    plain, rician = made.estimate(), made.estimate(noise="rician")
    apart = (plain["T2"].value - rician["T2"].value).abs() / plain["T2"].standard_deviation
    assert float(apart.max()) < 0.2
    assert not bool((rician.flags & int(Flag.NOT_CONVERGED)).any())


def test_noise_from_the_background(generator: torch.Generator) -> None:
    acquisition = MultiEchoSpinEcho(echo_time=(0.01, 0.03, 0.09))
    signal = torch.zeros(3, 64, 64)
    signal[:, 16:48, 16:48] = torch.tensor([100.0, 80.0, 60.0])[:, None, None]
    noise = 3 * torch.randn(2, 3, 64, 64, generator=generator)
    data = torch.hypot(signal + noise[0], noise[1])
    plain = Measurement(data, acquisition)
    assert background_noise(plain) == pytest.approx(3, rel=0.05)
    mask = signal[0] > 0
    assert background_noise(replace(plain, mask=mask)) == pytest.approx(3, rel=0.05)
    zeroed = data.clone()
    zeroed[:, ~mask] = 0
    assert background_noise(Measurement(zeroed, acquisition)) is None
    assert background_noise(Measurement(data[:, 16:48, 16:48], acquisition)) is None


@pytest.mark.parametrize("snr", [4, 10, 50])
def test_noise_from_the_background_of_weak_images(snr: float, generator: torch.Generator) -> None:
    # where the signal is weak the line between dark and bright cuts through the noise
    inside = torch.zeros(100, 101, dtype=torch.bool)
    inside[:60, :60] = True
    signal = ExponentialDecay(SPIN_ECHOES)(torch.tensor([[1000.0], [0.05]]))
    data = torch.zeros(SPIN_ECHOES.contrasts, 100, 101)
    data[:, inside] = signal * (0.5 + torch.rand(int(inside.sum()), generator=generator))
    noise = 1000 / snr * torch.randn(2, *data.shape, generator=generator)
    measurement = Measurement(torch.hypot(data + noise[0], noise[1]), SPIN_ECHOES, mask=inside)
    assert background_noise(measurement) == pytest.approx(1000 / snr, rel=0.03)
    assert background_noise(replace(measurement, mask=None)) == pytest.approx(1000 / snr, rel=0.1)


def test_without_a_noise_level_there_is_no_rician_fit() -> None:
    made = scan("mese", (3, 3), 50, torch.Generator().manual_seed(1))
    with pytest.raises(DataError, match="no signal-free background"):
        made.estimate(measurement=replace(made.measurement, noise=None), noise="rician")
    with pytest.raises(DataError, match="no noise level"):
        made.estimate(measurement=replace(made.measurement, noise=0.0), noise="rician")
    complex_images = scan("megre-complex", (3, 3), 50, torch.Generator().manual_seed(1))
    with pytest.raises(DataError, match="Gaussian already"):
        complex_images.estimate(noise="rician")


def test_background_noise_serves_the_rician_fit(generator: torch.Generator) -> None:
    model = ExponentialDecay(SPIN_ECHOES)
    inside = torch.zeros(40, 41, dtype=torch.bool)
    inside[8:32, 9:33] = True
    signal = model(torch.tensor([[1.0], [0.05]])).expand(-1, 24 * 24) * 1000
    data = torch.zeros(SPIN_ECHOES.contrasts, 40, 41)
    data[:, inside] = signal.float()
    noise = 200 * torch.randn(2, *data.shape, generator=generator)
    measurement = Measurement(
        torch.hypot(data + noise[0], noise[1]), SPIN_ECHOES, mask=inside, saturation=math.inf
    )
    found = CATALOGUE["mese"].estimator(model, noise="rician").estimate(measurement)
    assert float(found["T2"].value[inside].median()) == pytest.approx(0.05, rel=0.1)
