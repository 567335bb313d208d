"""Closed forms of saturation with exchange: two-pool magnetisation transfer, and spin locking for CEST.

Amplitudes and offsets are angular, in rad/s; contrasts come first, voxels last, and everything broadcasts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def transfer_saturation(
    offset: Tensor,
    amplitude: Tensor,
    time: Tensor,
    start: Tensor,
    *,
    r1: Tensor,
    r2: Tensor,
    fraction: Tensor,
    rate: Tensor,
    r1_semisolid: Tensor | float,
    line: Tensor,
) -> Tensor:
    """Longitudinal magnetisation of water after continuous saturation, exchanging with a semi-solid pool.

    The water's transverse magnetisation follows the irradiation at once, which leaves two exchanging longitudinal
    magnetisations; of their two decays only the slow one is kept: z = steady + (start - steady) exp(λ time).

    Source: Kim 2020; the water's absorption written with its Lorentzian, which has no pole on resonance.

    Args:
        offset: of the irradiation from water.
        amplitude: ω1.
        time: of the saturation in s.
        start: longitudinal magnetisation of water when it begins.
        r1, r2: relaxation rates of water in 1/s.
        fraction: of the semi-solid pool relative to water.
        rate: of exchange from the semi-solid pool to water in 1/s.
        r1_semisolid: longitudinal relaxation rate of that pool in 1/s.
        line: its absorption lineshape at the offset, in s.
    """
    power = amplitude**2
    semisolid = math.pi * power * line + r1_semisolid
    water = r1 + power * r2 / (r2**2 + offset**2)
    forward = rate * fraction
    leaving = semisolid + rate
    total = forward * semisolid + water * leaving  # product of both decay rates
    steady = (r1 * leaving + forward * r1_semisolid) / total
    arriving = water + forward
    fast = torch.sqrt((leaving - arriving) ** 2 + 4 * forward * rate) + arriving + leaving
    return steady + (start - steady) * torch.exp(-2 * total / fast * time)


def spin_lock_saturation(
    offset: Tensor,
    amplitude: Tensor,
    time: Tensor,
    start: Tensor,
    *,
    r1: Tensor,
    r2: Tensor,
    shift: Sequence[Tensor],
    fraction: Sequence[Tensor],
    rate: Sequence[Tensor],
    solute_r2: Sequence[Tensor],
) -> Tensor:
    """Longitudinal magnetisation of water after continuous saturation, exchanging with dilute solutes.

    Along the effective field the magnetisation relaxes with R1ρ = R1 cos²θ + R2 sin²θ + sum of R_ex; what of it is
    longitudinal before and after is cos²θ. R_ex has a Lorentzian in the offset from each solute.

    Source: Zaiss 2013.

    Args:
        offset: of the irradiation from water.
        amplitude: ω1.
        time: of the saturation in s.
        start: longitudinal magnetisation of water when it begins.
        r1, r2: relaxation rates of water in 1/s.
        shift: frequency of each solute from water.
        fraction: of each solute relative to water.
        rate: of exchange from each solute to water in 1/s.
        solute_r2: transverse relaxation rate of each solute in 1/s.
    """
    square = amplitude**2
    effective = square + offset**2
    cosine = torch.where(effective > 0, offset**2 / effective.clamp_min(1e-30), torch.ones_like(effective))
    sine = 1 - cosine
    relaxation = r1 * cosine + r2 * sine
    for d, f, k, r in zip(shift, fraction, rate, solute_r2, strict=True):
        width = (r + k) / k * square + (r + k) ** 2
        height = f * k * sine * (d**2 + r / k * effective + r * (k + r))
        relaxation = relaxation + height / (width + (offset - d) ** 2)
    steady = cosine * r1 / relaxation
    return steady + (cosine * start - steady) * torch.exp(-relaxation * time)


def contrast_by_contrast(
    function: Callable[[Tensor], Tensor], x: Tensor, contrasts: int
) -> tuple[Tensor, Tensor]:
    """Signal and Jacobian of a function whose contrasts don't know of each other, by one backward pass.

    Every contrast gets its own copy of the parameters, so that the gradient of the sum of all signals holds each
    contrast's derivatives in its own place.

    Args:
        function: (parameter, contrast, voxel) -> (contrast, voxel).
        x: (parameter, voxel).
        contrasts: how many.

    Returns:
        (contrast, voxel) and (contrast, parameter, voxel).
    """
    with torch.enable_grad():
        leaf = x.detach()[:, None].expand(-1, contrasts, -1).clone().requires_grad_()
        value = function(leaf)
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach(), gradient.transpose(0, 1)
