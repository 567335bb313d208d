"""Bloch-Torrey equation: diffusion in gradients, free in closed form, between walls by eigenmodes of the Laplacian.

Lengths inside this module are in m, diffusivities in m²/s; models take mm²/s and µm.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from fastqmri.core import AcquisitionError, UnknownNameError
from fastqmri.core.units import GYROMAGNETIC_RATIO

Geometry = Literal["plates", "cylinder", "sphere"]
GEOMETRIES: tuple[Geometry, ...] = ("plates", "cylinder", "sphere")
_GAMMA = 2 * math.pi * GYROMAGNETIC_RATIO
_TERMS = 13  # of the exponential series where the norm is below a half
_PLACES = (-math.sqrt(0.6), 0.0, math.sqrt(0.6))  # Gauss-Legendre, exact to the fifth power
_SHARES = (5 / 18, 8 / 18, 5 / 18)


def b_matrix(time: Tensor, gradient: Tensor) -> Tensor:
    """b-matrix of any gradient waveform, exact where it is linear between its nodes.

    b = ∫ q qᵀ dt with q = γ ∫ G dt. Differentiable with respect to both arguments.

    Args:
        time: (node,) in s, never decreasing; the same time twice makes a jump.
        gradient: (node, 3) in T/m, effective: reversed after every refocusing pulse.

    Returns:
        (3, 3) in s/mm²; its trace is the b-value.

    Raises:
        AcquisitionError: times that decrease, or a waveform that does not refocus.
    """
    step = time.diff()
    if bool((step < 0).any()):
        raise AcquisitionError(
            "gradient nodes whose times decrease", "time runs forwards.", "Sort the nodes by time."
        )
    first, slope = gradient[:-1], gradient.diff(dim=0)
    area = step[:, None] * (first + slope / 2)
    q = torch.cat([torch.zeros_like(area[:1]), area.cumsum(0)]) * _GAMMA
    largest = float(q.detach().abs().max())
    if float(q[-1].detach().abs().max()) > 1e-6 * max(largest, 1e-300):
        raise AcquisitionError(
            f"a gradient waveform that ends at q = {q[-1].tolist()} rad/m",
            "the positive and negative lobes of the effective waveform must balance.",
            "Reverse the gradients that follow a refocusing pulse.",
        )
    b = torch.zeros(3, 3, dtype=gradient.dtype, device=gradient.device)
    for place, share in zip(_PLACES, _SHARES, strict=True):
        s = (place + 1) / 2
        inside = q[:-1] + _GAMMA * step[:, None] * (s * first + s * s / 2 * slope)
        b = b + torch.einsum("n,ni,nj->ij", share * step, inside, inside)
    return 1e-6 * b


def pulsed_gradient_b_value(gradient: Tensor, duration: Tensor, separation: Tensor) -> Tensor:
    """b in s/mm² of two rectangular pulses, γ²G²δ²(Δ - δ/3).

    Source: Stejskal 1965.
    """
    return 1e-6 * (_GAMMA * gradient * duration) ** 2 * (separation - duration / 3)


@dataclass(frozen=True)
class Spectrum:
    """Modes of the Laplacian between reflecting walls, in units of the radius (for plates: half their distance).

    Attributes:
        rate: (mode,) rising eigenvalues λ: a mode decays as exp(-λ D t/R²); the first is the uniform one.
        moment: (mode, mode) matrix of the position along the gradient.
        odd: (mode,) whether a mode changes sign with the position: the position couples even to odd ones only.
    """

    rate: Tensor
    moment: Tensor
    odd: Tensor


@functools.cache
def spectrum(geometry: Geometry, highest: float = 25.0) -> Spectrum:
    """Modes whose wave number, sqrt(λ), is at most ``highest``.

    Radial functions are polynomials times their power at the origin, which converges faster than any power of their
    number.

    Raises:
        UnknownNameError: no such geometry.
    """
    if geometry not in GEOMETRIES:
        raise UnknownNameError(
            f"geometry {geometry!r}", "there is no such geometry.", f"Use one of {', '.join(GEOMETRIES)}."
        )
    dimension = GEOMETRIES.index(geometry) + 1
    count = int(0.6 * highest) + 14
    node, share = np.polynomial.legendre.leggauss(2 * count + int(highest) + 8)
    r, share = (node + 1) / 2, share / 2
    weight = share * r ** (dimension - 1)
    orders = 2 if dimension == 1 else int(highest) + 1
    blocks: list[tuple[np.ndarray, np.ndarray]] = []
    for n in range(orders):
        rates, functions = _radial(dimension, n, count, r, weight)
        kept = rates <= highest**2
        if not kept.any():
            break
        blocks.append((rates[kept], functions[kept]))
    rate = np.concatenate([rates for rates, _ in blocks])
    order = np.concatenate([np.full(len(rates), n) for n, (rates, _) in enumerate(blocks)])
    functions = np.concatenate([f for _, f in blocks])
    radial = (functions * (weight * r)) @ functions.T
    coupling = np.zeros((len(blocks), len(blocks)))
    for n in range(len(blocks) - 1):
        coupling[n, n + 1] = coupling[n + 1, n] = _coupling(dimension, n)
    moment = radial * coupling[order[:, None], order[None, :]]
    rising = np.argsort(rate, kind="stable")
    return Spectrum(
        torch.from_numpy(np.maximum(rate[rising], 0.0)),
        torch.from_numpy(moment[np.ix_(rising, rising)]),
        torch.from_numpy(order[rising] % 2 == 1),
    )


def _radial(
    dimension: int, order: int, count: int, r: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and normalised radial functions (mode, node) of one angular order."""
    # Jacobi polynomials of 2r² - 1 times r^order are orthogonal with this weight
    polynomial, slope = _jacobi(order + dimension / 2 - 1, count, 2 * r * r - 1)
    base = polynomial * r**order
    change = slope * 4 * r ** (order + 1.0) + (order * polynomial * r ** (order - 1.0) if order else 0.0)
    size = np.sqrt((base**2) @ weight)[:, None]
    base, change = base / size, change / size
    angular = {1: 0.0, 2: float(order**2), 3: float(order * (order + 1))}[dimension]
    stiffness = (change * weight) @ change.T + angular * (base * (weight / r**2)) @ base.T
    rates, turned = np.linalg.eigh(stiffness)
    return rates, turned.T @ base


def _jacobi(b: float, count: int, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Polynomials P_k^(0, b), (count, node), and their derivatives."""
    value, slope = np.empty((count, len(x))), np.empty((count, len(x)))
    value[0], slope[0] = 1.0, 0.0
    value[1], slope[1] = (b + 2) / 2 * x - b / 2, (b + 2) / 2
    for k in range(2, count):
        m = 2 * k + b
        scale, shift = (m - 1) * m * (m - 2), -(m - 1) * b * b
        before = 2 * (k - 1) * (k + b - 1) * m
        factor = 2 * k * (k + b) * (m - 2)
        value[k] = ((scale * x + shift) * value[k - 1] - before * value[k - 2]) / factor
        slope[k] = (
            scale * value[k - 1] + (scale * x + shift) * slope[k - 1] - before * slope[k - 2]
        ) / factor
    return value, slope


def _coupling(dimension: int, order: int) -> float:
    """Mean of the cosine of the angle to the gradient between the angular functions of two orders in a row."""
    if dimension == 1:
        return 1.0
    if dimension == 2:
        return math.sqrt(0.5) if order == 0 else 0.5
    return (order + 1) / math.sqrt((2 * order + 1) * (2 * order + 3))


def restricted(
    modes: Spectrum, gradient: Tensor, duration: Tensor, diffusivity: Tensor, radius: Tensor
) -> Tensor:
    """Signal of any effective gradient waveform of constant pieces, by the matrix formalism.

    Source: Barzykin 1999; Grebenkov 2007.

    Args:
        modes: of the geometry.
        gradient: (piece,) in T/m, across the walls; reversed after a refocusing pulse.
        duration: (piece,) in s.
        diffusivity: (*voxels) in m²/s.
        radius: (*voxels) in m; half the distance of plates.

    Returns:
        (*voxels), one without gradients.
    """
    rate, moment = modes.rate.to(diffusivity), _turning(modes).to(diffusivity)
    state = torch.zeros(*diffusivity.shape, len(rate), dtype=rate.dtype, device=rate.device)
    state[..., 0] = 1
    for g, time in zip(gradient, duration, strict=True):
        decay = (diffusivity * time / radius**2)[..., None] * rate
        matrix = torch.diag_embed(decay) + (_GAMMA * g * time * radius)[..., None, None] * moment
        state = state + (_exponential_less_one(-matrix) @ state[..., None])[..., 0]
    return state[..., 0]


def pulsed_gradient(
    modes: Spectrum,
    gradient: Tensor,
    duration: Tensor,
    separation: Tensor,
    diffusivity: Tensor,
    radius: Tensor,
) -> Tensor:
    """Signal of two rectangular pulses, by the matrix formalism; the arguments after ``modes`` broadcast.

    The second pulse undoes the first, so that one matrix exponential is enough.
    """
    rate, moment = modes.rate.to(diffusivity), _turning(modes).to(diffusivity)
    p = diffusivity * duration / radius**2
    q = _GAMMA * gradient * duration * radius
    p, q = torch.broadcast_tensors(p, q)
    matrix = torch.diag_embed(p[..., None] * rate) + q[..., None, None] * moment
    column = _exponential_less_one(-matrix)[..., :, 0]
    after = torch.cat([1 + column[..., :1], column[..., 1:]], -1)
    between = torch.exp(-(diffusivity * (separation - duration) / radius**2)[..., None] * rate)
    return (between * after**2).sum(-1)


def _exponential_less_one(matrix: Tensor) -> Tensor:
    """exp(X) - 1 of matrices (..., n, n).

    Halved until its series converges, then Y -> Y² + 2Y: without the one, rounding does not double each time.
    """
    norm = float(matrix.detach().abs().sum(-1).amax()) if matrix.numel() else 0.0
    halvings = max(0, math.ceil(math.log2(max(norm, 1e-300) / 0.5)))
    small = matrix / 2.0**halvings
    result = small / _TERMS
    for k in range(_TERMS - 1, 0, -1):
        result = (small + small @ result) / k
    for _ in range(halvings):
        result = result @ result + 2 * result
    return result


def _turning(modes: Spectrum) -> Tensor:
    """i times the position with the odd modes counted in units of i: real, antisymmetric."""
    sign = modes.odd.to(modes.moment)
    return modes.moment * (sign[:, None] - sign[None, :])


def gaussian_phase(
    modes: Spectrum,
    gradient: Tensor,
    duration: Tensor,
    separation: Tensor,
    diffusivity: Tensor,
    radius: Tensor,
) -> Tensor:
    """Signal of two rectangular pulses if phases were distributed as a Gaussian; the arguments broadcast.

    Good where the gradient is weak against diffusion: γ G R³/D well below ten.

    Source: Neuman 1974; for cylinders VanGelderen 1994; for spheres Murday 1968.
    """
    used = modes.moment[0].abs() > 1e-9
    share = modes.moment[0][used].to(diffusivity) ** 2
    rate = modes.rate[used].to(diffusivity) * (diffusivity / radius**2)[..., None]
    short, apart = duration[..., None], separation[..., None]
    inside = 2 * (rate * short + torch.expm1(-rate * short))
    across = torch.exp(-rate * (apart - short)) * torch.expm1(-rate * short) ** 2
    variance = (share * (2 * inside - 2 * across) / rate**2).sum(-1)
    return torch.exp(-0.5 * (_GAMMA * gradient * radius) ** 2 * variance)
