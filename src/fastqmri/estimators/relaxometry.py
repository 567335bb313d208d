"""Closed forms and short fixed-point iterations for relaxometry."""

from __future__ import annotations

import torch
from torch import Tensor

from fastqmri.physics.signal import ExponentialDecay, SignalModel, SpoiledGradientEcho
from fastqmri.solvers.linear import inverse, regression
from fastqmri.solvers.solution import Solution, propagate

_FIXED_POINTS = 30
_REWEIGHTINGS = 6
_SETTLED = 1e-6


def despot1(
    model: SpoiledGradientEcho, data: Tensor, weights: Tensor | None, known: dict[str, Tensor]
) -> Solution:
    """T1 and M0 from the straight line S/sin α = E S/tan α + M0 (1 - E), every image counted alike.

    Source: Deoni 2003.
    """
    sine, cosine = _angles(model, data, known)
    return _line(model, data, _ones(data, weights), sine, cosine)


def reweighted(
    model: SpoiledGradientEcho, data: Tensor, weights: Tensor | None, known: dict[str, Tensor]
) -> Solution:
    """The same line with each image weighted by its own noise, (sin α/(1 - E cos α))², in turns with E.

    Source: Chang 2008.
    """
    sine, cosine = _angles(model, data, known)
    used = _ones(data, weights)
    e = _slope(data, used, sine, cosine)
    for _ in range(_REWEIGHTINGS):
        e = _slope(data, used * (sine / (1 - e * cosine)) ** 2, sine, cosine)
    return _line(model, data, used * (sine / (1 - e * cosine)) ** 2, sine, cosine)


def novifast(
    model: SpoiledGradientEcho, data: Tensor, weights: Tensor | None, known: dict[str, Tensor]
) -> Solution:
    """Fixed point of the normal equations of the non-linear fit, linear once their denominators are frozen.

    With c1 = M0 (1 - E), c2 = E and D = 1 - c2 cos α frozen, the equations Σ (y - s) ∂s/∂c = 0 are linear in
    (c1, c2); their fixed point is the non-linear least-squares solution itself.

    Source: Ramos-Llordén 2018.
    """
    sine, cosine = _angles(model, data, known)
    used = _ones(data, weights)
    tr = model.acquisition.repetition_time
    c2 = torch.full_like(data[0], 0.5).fill_(torch.exp(torch.tensor(-tr / 0.5)).item())
    c1 = 0.5 * data.amax(0)
    settled = torch.zeros_like(c1, dtype=torch.bool)
    for _ in range(_FIXED_POINTS):
        d = 1 - c2 * cosine
        b, z, a = sine / d, data / d, data * cosine / d
        model_a = c1 * sine * cosine / d**2
        bb, aa, ab, bm = ((used * p).sum(0) for p in (b * b, a * model_a, a * b, b * model_a))
        zb, zm = (used * z * b).sum(0), (used * z * model_a).sum(0)
        determinant = bb * aa - ab * bm
        determinant = torch.where(determinant.abs() > 0, determinant, torch.ones_like(determinant))
        new1, new2 = (zb * aa - ab * zm) / determinant, (bb * zm - bm * zb) / determinant
        new2 = new2.clamp(*_range(model))
        close = ((new2 - c2).abs() <= _SETTLED * c2) & ((new1 - c1).abs() <= _SETTLED * c1.abs())
        # a settled voxel rests: it must not move on for as long as some neighbour happens to need
        c1, c2 = torch.where(settled, c1, new1), torch.where(settled, c2, new2)
        settled |= close
        if bool(settled.all()):
            break
    return _as_parameters(model, c1, c2, None, data, used, sine, cosine, settled)


def log_linear(
    model: ExponentialDecay, data: Tensor, weights: Tensor | None, known: dict[str, Tensor]
) -> Solution:
    """Straight line through ln S, each echo weighted by S² as its noise demands."""
    del known
    te = model.acquisition.tensor("echo_time", like=data)
    design = torch.stack([torch.ones_like(te), -te], 1)
    used = _ones(data, weights)
    safe = torch.where(used > 0, data, torch.ones_like(data))
    squares = used * safe**2
    beta, covariance = regression(design, safe.log(), squares, 1 / safe**2)
    s0, rate = beta[0].exp(), beta[1]
    bounds = model.parameters[1].bounds
    rate = rate.clamp(1 / bounds[1], 1 / bounds[0])
    zero = torch.zeros_like(s0)
    jacobian = torch.stack([torch.stack([s0, zero]), torch.stack([zero, -1 / rate**2])])
    x = torch.stack([s0, 1 / rate])
    residual = (used * (data - model.forward(x)) ** 2).sum(0)
    return Solution(x, propagate(jacobian, covariance), residual, torch.ones_like(s0, dtype=torch.bool))


def _angles(model: SpoiledGradientEcho, data: Tensor, known: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    angle = model.acquisition.tensor("flip_angle", like=data)[:, None]
    if "B1" in known:
        angle = angle * known["B1"].to(data)
    return torch.sin(angle), torch.cos(angle)


def _ones(data: Tensor, weights: Tensor | None) -> Tensor:
    return torch.ones_like(data) if weights is None else weights


def _range(model: SpoiledGradientEcho) -> tuple[float, float]:
    separable = model.separable()
    return separable.bounds


def _slope(data: Tensor, weights: Tensor, sine: Tensor, cosine: Tensor) -> Tensor:
    u, v = data * cosine / sine, data / sine
    total = weights.sum(0)
    mean_u, mean_v = (weights * u).sum(0) / total, (weights * v).sum(0) / total
    spread = (weights * (u - mean_u) ** 2).sum(0)
    return (weights * (u - mean_u) * (v - mean_v)).sum(0) / spread.clamp_min(1e-300)


def _line(
    model: SpoiledGradientEcho, data: Tensor, weights: Tensor, sine: Tensor, cosine: Tensor
) -> Solution:
    """Weighted straight line, with the covariance that its true noise gives it."""
    e = _slope(data, weights, sine, cosine).clamp(*_range(model))
    u, v = data * cosine / sine, data / sine
    total = weights.sum(0)
    c1 = ((weights * v).sum(0) - e * (weights * u).sum(0)) / total
    variance = ((1 - e * cosine) / sine) ** 2
    design = torch.stack([torch.ones_like(u), u], 1)
    _, covariance = regression(design, v, weights, variance)
    return _as_parameters(model, c1, e, covariance, data, (weights > 0).to(data), sine, cosine, None)


def _as_parameters(
    model: SpoiledGradientEcho,
    c1: Tensor,
    c2: Tensor,
    covariance: Tensor | None,
    data: Tensor,
    used: Tensor,
    sine: Tensor,
    cosine: Tensor,
    converged: Tensor | None,
) -> Solution:
    """(M0 (1 - E), E) to (M0, T1); the covariance of the non-linear fit where none is given."""
    d = 1 - c2 * cosine
    signal = c1 * sine / d
    if covariance is None:
        columns = torch.stack([sine / d, signal * cosine / d], 1)
        weighted = columns * used[:, None]
        covariance = inverse((weighted[:, :, None] * columns[:, None]).sum(0))
    structure: SignalModel = model
    separable = structure.separable()
    assert separable is not None
    x, jacobian = separable.to_parameters(torch.stack([c1, c2]))
    residual = (used * (data - signal) ** 2).sum(0)
    if converged is None:
        converged = torch.ones_like(c1, dtype=torch.bool)
    return Solution(x, propagate(jacobian, covariance), residual, converged)
