"""One field of the phases of all echoes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fastqmri.core import UnknownNameError
from fastqmri.core.units import GYROMAGNETIC_RATIO
from fastqmri.estimators.susceptibility.unwrapping import Unwrapped
from fastqmri.physics.signal.field_mapping import weighted_line

METHODS = ("linear", "nonlinear")
_STEPS = 8
_SETTLED = 1e-6
"""Change in rad of the phase at the latest echo that ends the non-linear fit."""


@dataclass(frozen=True)
class TotalField:
    """The field of all sources, inside and outside the object.

    Attributes:
        frequency: (*voxels) Hz.
        standard_deviation: (*voxels) Hz; NaN where the noise is unknown.
        offset: (*voxels) rad, phase at TE = 0 beyond what unwrapping took off; zeros for a single echo.
        residual: (*voxels) root mean square of what the fit leaves of the complex signal, in its units.
    """

    frequency: Tensor
    standard_deviation: Tensor
    offset: Tensor
    residual: Tensor


def combine_echoes(
    unwrapped: Unwrapped,
    magnitude: Tensor,
    echo_times: Sequence[float],
    *,
    noise: float | None = None,
    method: str = "linear",
) -> TotalField:
    """Fit phase = offset + 2π f TE in every voxel.

    Linear: the line through the unwrapped phases, each weighing as the square of its magnitude (whose inverse is the
    variance of a phase). Nonlinear: from there, the complex signals are fitted with their magnitudes as measured,
    Σ M² |exp(iφ) - exp(i(offset + 2π f TE))|², which bears noise beyond a fraction of a turn, and wraps left along TE.
    A single echo has no offset to fit: what is left of it goes into the field.

    Source: Schneider 1991; Liu 2013.

    Args:
        unwrapped: phases of the echoes.
        magnitude: (echo, *voxels).
        echo_times: in s.
        noise: standard deviation of one channel of the complex images, in their units.
        method: one of `METHODS`.

    Raises:
        UnknownNameError: another method.
    """
    if method not in METHODS:
        raise UnknownNameError(
            f"echo combination {method!r}", "it is not known here.", f"Use one of {', '.join(METHODS)}."
        )
    voxels = magnitude.shape[1:]
    phase = unwrapped.phase.reshape(len(magnitude), -1)
    weight = magnitude.reshape(len(magnitude), -1).to(phase) ** 2
    te = torch.tensor(list(echo_times), dtype=phase.dtype, device=phase.device)
    tiny = torch.finfo(phase.dtype).tiny
    if len(te) == 1:
        slope, offset = phase[0] / te[0], torch.zeros_like(phase[0])
        spread = weight[0] * te[0] ** 2
    else:
        slope, offset = weighted_line(te, phase, weight)
        if method == "nonlinear":
            slope, offset = _gauss_newton(te, phase, weight, slope, offset)
        mean = (weight * te[:, None]).sum(0) / weight.sum(0).clamp_min(tiny)
        spread = (weight * (te[:, None] - mean) ** 2).sum(0)
    left = phase - offset - slope * te[:, None]
    residual = (weight * (2 - 2 * torch.cos(left))).mean(0).sqrt()
    level = math.nan if noise is None else noise
    deviation = level / (2 * math.pi * spread.clamp_min(tiny).sqrt())
    parts = (slope / (2 * math.pi), deviation, offset, residual)
    return TotalField(*(part.reshape(voxels) for part in parts))


def _gauss_newton(
    te: Tensor, phase: Tensor, weight: Tensor, slope: Tensor, offset: Tensor
) -> tuple[Tensor, Tensor]:
    """Minimum of Σ w (1 - cos(φ - offset - slope TE)) near the start: the line fitted to sin of what is left."""
    for _ in range(_STEPS):
        left = torch.sin(phase - offset - slope * te[:, None])
        more, further = weighted_line(te, left, weight)
        slope, offset = slope + more, offset + further
        if float((more.abs() * te.max()).max()) < _SETTLED:
            break
    return slope, offset


def in_ppm(frequency: Tensor, field_strength: float) -> Tensor:
    """A frequency in Hz as parts per million of the Larmor frequency at ``field_strength`` in T."""
    return frequency / (GYROMAGNETIC_RATIO * field_strength * 1e-6)


def direction_of_b0(affine: Tensor) -> tuple[float, float, float]:
    """Unit vector of B0 along the voxel axes, for B0 along z of the scanner.

    Args:
        affine: (4, 4) voxel to world in mm.
    """
    axes = affine[:3, :3].double() / affine[:3, :3].double().norm(dim=0)
    direction = torch.linalg.inv(axes) @ torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    x, y, z = (direction / direction.norm()).tolist()
    return x, y, z
