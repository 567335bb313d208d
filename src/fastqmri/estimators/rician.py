"""Magnitude images of weak signal: noise does not average out, it lifts. The likelihood that knows it."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from fastqmri.core import Measurement
from fastqmri.estimators.screening import foreground
from fastqmri.physics.signal import SignalModel
from fastqmri.solvers.levenberg_marquardt import levenberg_marquardt
from fastqmri.solvers.linear import inverse, products
from fastqmri.solvers.solution import Solution, symmetric

_STEPS = 100
_STEPS_WITHIN = 5
_SETTLED = 1e-3  # of a standard deviation
_RAYLEIGH_MEDIAN = 1.1774100225154747  # median of the Rayleigh distribution
_ROUNDS = 50
_DEVIATIONS = 4.0


def bessel_ratio(z: Tensor) -> Tensor:
    """I1(z)/I0(z) for z >= 0, without overflow."""
    return torch.special.i1e(z) / torch.special.i0e(z)


def refine(
    model: SignalModel,
    solution: Solution,
    data: Tensor,
    weights: Tensor | None,
    known: dict[str, Tensor],
    sigma: float,
) -> Solution:
    """Turn a least-squares solution into the Rician maximum-likelihood one, by expectation maximisation.

    The part of the noise along the signal is the missing datum: given the present signal s, its expectation
    turns a measured m into m I1(ms/σ²)/I0(ms/σ²); a few steps of least squares on those are the maximisation.

    Args:
        model: A.
        solution: where to start.
        data: (contrast, voxel) magnitudes.
        weights: (contrast, voxel), or None.
        known: maps of the known parameters, (voxel).
        sigma: noise standard deviation of one channel.

    Returns:
        The solution; voxels still moving at the end are not converged.

    Source: the likelihood of Gudbjartsson 1995, Eq. 1.
    """
    free = list(model.estimated)
    used = torch.ones_like(data) if weights is None else weights

    def evaluate(chosen: Tensor, x: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        some = {name: value[chosen[index]] for name, value in known.items()}
        signal, jacobian = model.evaluate(model.complete(x, some))
        return signal, jacobian[:, free]

    x = solution.x.clone()
    lower, upper = (bound[free] for bound in model.bounds(x))
    deviation = sigma * solution.covariance.diagonal().T.clamp_min(0).sqrt()
    everyone = torch.arange(data.shape[1], device=data.device)
    active = everyone
    for _ in range(_STEPS):
        present, measured = x[:, active], data[:, active]
        signal = evaluate(everyone, present, active)[0].abs()
        updated = levenberg_marquardt(
            functools.partial(evaluate, active),
            measured * bessel_ratio(measured * signal / sigma**2),
            present,
            lower,
            upper,
            weights=used[:, active],
            iterations=_STEPS_WITHIN,
        ).x
        moving = ((updated - present).abs() > _SETTLED * deviation[:, active]).any(0)
        x[:, active] = updated
        active = active[moving]
        if not len(active):
            break
    converged = torch.ones_like(solution.converged)
    converged[active] = False
    signal, jacobian = evaluate(everyone, x, everyone)
    residual = (data - expected_magnitude(signal.abs(), sigma))[:, None]
    information = information_factor(signal.abs() / sigma) * used
    normal = symmetric(products(jacobian * information[:, None], jacobian), len(free))
    return Solution(x, inverse(normal), products(residual * used[:, None], residual)[0], converged)


def expected_magnitude(signal: Tensor, sigma: float) -> Tensor:
    """Mean of a Rician variate: what noise makes of a signal, in its units."""
    z = signal**2 / (4 * sigma**2)
    laguerre = (1 + 2 * z) * torch.special.i0e(z) + 2 * z * torch.special.i1e(z)
    return sigma * (torch.pi / 2) ** 0.5 * laguerre


def information_factor(snr: Tensor) -> Tensor:
    """Fisher information of a Rician sample about its signal, as a fraction of the Gaussian 1/σ².

    Args:
        snr: signal over σ, any shape.
    """
    grid, table = _information_table()
    position = (snr.double().clamp(0, float(grid[-1])) / grid[1]).clamp_max(len(grid) - 1.000001)
    low = position.long()
    share = position - low
    return (table[low] * (1 - share) + table[low + 1] * share).to(snr)


@functools.cache
def _information_table() -> tuple[Tensor, Tensor]:
    """E[(m I1/I0)²]/σ² - s²/σ², by quadrature over the density; 1 beyond an SNR of 20 to 0.2 %."""
    snr = torch.linspace(0, 20, 401, dtype=torch.float64)
    m = torch.linspace(0, 30, 6001, dtype=torch.float64)[None]
    a = snr[:, None]
    density = m * torch.exp(-((m - a) ** 2) / 2) * torch.special.i0e(m * a)
    second = torch.trapezoid(density * (m * bessel_ratio(m * a)) ** 2, m.expand_as(density), dim=1)
    return snr, (second - snr**2).clamp_min(0)


def background_noise(measurement: Measurement) -> float | None:
    """σ from the signal-free background of magnitude images: the median of a Rayleigh distribution.

    Weak voxels outside the mask count as background; without a mask, those that are not foreground. None where
    fewer than 100 remain, or where the background was zeroed.
    """
    data = measurement.data.abs()
    outside = ~foreground(data)
    if measurement.mask is not None:
        outside = outside & ~measurement.mask.bool()
    values = data[:, outside]
    values = values[torch.isfinite(values) & (values > 0)]
    if len(values) < 100 or values.numel() < 0.5 * outside.sum() * len(data):
        return None
    sigma = float(values.median()) / _RAYLEIGH_MEDIAN
    # the line between dark and bright cut off the tail of the noise: let in what noise of this size explains
    beyond = torch.ones_like(outside) if measurement.mask is None else ~measurement.mask.bool()
    candidates = data[:, beyond]
    candidates = candidates[:, (torch.isfinite(candidates) & (candidates > 0)).all(0)]
    if not candidates.shape[1]:
        return sigma
    mean_square = (candidates.double() ** 2).mean(0)
    for _ in range(_ROUNDS):
        noise = candidates[:, mean_square < 2 * sigma**2 * (1 + _DEVIATIONS / len(data) ** 0.5)]
        if noise.numel() < 100:
            break
        before, sigma = sigma, float(noise.median()) / _RAYLEIGH_MEDIAN
        if abs(sigma - before) < 1e-3 * before:
            break
    return sigma
