"""Formulas that solve a signal model outright: magnetisation transfer, transmit field, off-resonance."""

from __future__ import annotations

import torch
from torch import Tensor

from fastqmri.physics.signal import (
    ActualFlipAngleSignal,
    DoubleAngleSignal,
    PhaseEvolution,
    SignalModel,
    TransferRatio,
    TransferSaturation,
)
from fastqmri.physics.signal.transfer import saturation_scale
from fastqmri.solvers.linear import inverse, products, regression
from fastqmri.solvers.solution import Solution, propagate, symmetric


def transfer_ratio(
    model: TransferRatio, data: Tensor, weights: Tensor | None, known: dict[str, Tensor]
) -> Solution:
    """MTR of the mean images without and with the pulse: the least-squares solution itself."""
    used = _ones(data, weights)
    on = model.acquisition.tensor("mt_state", like=data)[:, None]
    without = (used * (1 - on) * data).sum(0) / (used * (1 - on)).sum(0)
    saturated = (used * on * data).sum(0) / (used * on).sum(0)
    return _at(model, torch.stack([without, 100 * (1 - saturated / without)]), data, weights, known)


def helms(
    model: TransferSaturation, data: Tensor, weights: Tensor | None, known: dict[str, Tensor]
) -> Solution:
    """T1 and M0 from the images without the pulse, then MTsat from those with it.

    Without the pulse S α/(2 TR) = R1 M0 - R1 S/α, a straight line; with it δ = R1 M0 α TR/S - R1 TR - α²/2. Of more
    than two images without the pulse each is weighted by its noise; of several with it the mean is taken.

    Source: Helms 2008.
    """
    acquisition = model.acquisition
    b1 = known["B1"].to(data) if "B1" in known else torch.ones_like(data[0])
    angle = b1 * acquisition.tensor("flip_angle", like=data)[:, None]
    repetition = acquisition.tensor("repetition_time", like=data)[:, None]
    on = torch.tensor(acquisition.mt_state)
    used = _ones(data, weights)
    design = torch.stack([torch.ones_like(data), data / angle], 1)[~on]
    left = (data * angle / (2 * repetition))[~on]
    beta, covariance = regression(design, left, used[~on], torch.ones_like(left))
    noise = (angle / (2 * repetition))[~on] - beta[1] / angle[~on]  # ∂(left - line)/∂S
    beta, covariance = regression(design, left, used[~on] / noise**2, noise**2)
    count = used[on].sum(0)
    factor = angle[on] * repetition[on] / data[on]
    delta = (used[on] * (beta[0] * factor + beta[1] * repetition[on] - angle[on] ** 2 / 2)).sum(0) / count
    by_beta = torch.stack([(used[on] * factor).sum(0) / count, (used[on] * repetition[on]).sum(0) / count])
    by_signal = used[on] * beta[0] * factor / (data[on] * count)
    shared = (covariance * by_beta).sum(1)
    variance = (shared * by_beta).sum(0) + (by_signal**2).sum(0)
    full = torch.cat(
        [
            torch.cat([covariance, shared[:, None]], 1),
            torch.cat([shared, variance[None]])[None],
        ]
    )
    low, high = model.parameters[1].bounds
    t1 = torch.where(beta[1] < 0, -1 / beta[1], torch.full_like(b1, high)).clamp(low, high)
    scale = saturation_scale(b1, model.correction)[0]
    x = torch.stack([beta[0] * t1, t1, 100 * delta / scale])
    zero = torch.zeros_like(t1)
    jacobian = torch.stack(
        [
            torch.stack([t1, beta[0] * t1**2, zero]),
            torch.stack([zero, t1**2, zero]),
            torch.stack([zero, zero, 100 / scale]),
        ]
    )
    residual = (used * (data - model(model.complete(x, known))) ** 2).sum(0)
    return Solution(x, propagate(jacobian, full), residual, torch.ones_like(t1, dtype=torch.bool))


def actual_flip_angle(
    model: ActualFlipAngleSignal, data: Tensor, weights: Tensor | None, known: dict[str, Tensor]
) -> Solution:
    """cos α = (n r - 1)/(n - r), r the ratio of the signals and n that of the repetition times; or its exact form.

    Source: Yarnykh 2007.
    """
    times = model.acquisition.tensor("repetition_time", like=data)
    first, second = times.argsort().tolist()
    recovered = times[:, None].expand(data.shape)
    rest = torch.ones_like(data)
    if model.recovery == "exact":
        nominal = model.parameters[2].nominal or 1.0
        t1 = known["T1"].to(data) if "T1" in known else torch.full_like(data[0], nominal)
        recovered = -torch.expm1(-times[:, None] / t1)
        rest = 1 - recovered
    ratio = data[second] / data[first]
    cosine = (ratio * recovered[second] - recovered[first]) / (
        recovered[second] * rest[first] - ratio * recovered[first] * rest[second]
    )
    return _of_cosine(model, cosine, model.acquisition.flip_angle, data, weights, known)


def double_angle(
    model: DoubleAngleSignal, data: Tensor, weights: Tensor | None, known: dict[str, Tensor]
) -> Solution:
    """cos α = S(2α)/(2 S(α)).

    Source: Insko and Bolinger 1993.
    """
    single, double = model.acquisition.tensor("flip_angle").argsort().tolist()
    cosine = data[double] / (2 * data[single])
    return _of_cosine(model, cosine, model.acquisition.flip_angle[single], data, weights, known)


def phase_line(
    model: PhaseEvolution, data: Tensor, weights: Tensor | None, known: dict[str, Tensor]
) -> Solution:
    """B0 from the line through the phases, unwrapped from echo to echo."""
    x = model.start(data, weights)
    unit = model(torch.cat([torch.ones_like(x[:-2]), x[-2:]]))
    x[:-2] = (data * unit.conj()).real.clamp_min(0)
    return _at(model, x, data, weights, known)


def _of_cosine(
    model: SignalModel,
    cosine: Tensor,
    nominal: float,
    data: Tensor,
    weights: Tensor | None,
    known: dict[str, Tensor],
) -> Solution:
    """B1 from the cosine of the flip angle, and the amplitude that fits best with it."""
    low, high = model.parameters[1].bounds
    b1 = (torch.acos(cosine.clamp(-1, 1)) / nominal).clamp(low, high)
    unit = model(model.complete(torch.stack([torch.ones_like(b1), b1]), known))
    amplitude = (unit * data).sum(0) / (unit**2).sum(0)
    return _at(model, torch.stack([amplitude, b1]), data, weights, known)


def _at(
    model: SignalModel, x: Tensor, data: Tensor, weights: Tensor | None, known: dict[str, Tensor]
) -> Solution:
    """A solution of the estimated parameters x, its covariance that of a least-squares fit there."""
    signal, jacobian = model.evaluate(model.complete(x, known))
    jacobian = jacobian[:, list(model.estimated)]
    parts = [jacobian.real, jacobian.imag] if jacobian.is_complex() else [jacobian]
    information = torch.zeros((), dtype=x.dtype)
    for part in parts:
        information = information + products(part if weights is None else weights[:, None] * part, part)
    misfit = (data - signal).abs() ** 2
    return Solution(
        x,
        inverse(symmetric(information, len(x))),
        (misfit if weights is None else weights * misfit).sum(0),
        torch.isfinite(x).all(0),
    )


def _ones(data: Tensor, weights: Tensor | None) -> Tensor:
    return torch.ones_like(data) if weights is None else weights
