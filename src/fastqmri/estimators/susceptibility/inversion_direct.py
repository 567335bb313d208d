"""Dipole inversions that are one filter: thresholded division, closed form with smoothness, several orientations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from fastqmri.estimators.susceptibility.inversion import (
    AXES,
    LocalField,
    SusceptibilityMap,
    filtered_deviation,
)
from fastqmri.physics.encoding import dipole_kernel
from fastqmri.physics.encoding.dipole import Vector

_EXACT = (
    "noise of the field through the filter, voxel by voxel; the systematic error of the filter is not in it"
)


@dataclass(frozen=True)
class ThresholdedDivision:
    """Division by D where it is large enough, by the threshold (TKD) or by nothing (TSVD) where it is not.

    Source: Shmueli 2009; Wharton 2010.

    Attributes:
        threshold: of abs(D), 0.1 to 0.2 as a rule.
        truncate: drop what lies below the threshold in place of dividing it by the threshold.
        scaled: divide by what the filter leaves of a single voxel, which makes up for most of the underestimation.
    """

    threshold: float = 0.15
    truncate: bool = False
    scaled: bool = False

    def __call__(self, local: LocalField) -> SusceptibilityMap:
        """Invert."""
        inverse = _remembered(self, local.voxels, local.voxel_size, local.directions[0])
        return _filtered(local, inverse.to(local.field)[None])

    def filter(self, kernel: Tensor, voxels: tuple[int, ...]) -> Tensor:
        """1 / D made harmless, (side, side, side // 2 + 1)."""
        size = kernel.abs()
        if self.truncate:
            inverse = torch.where(size >= self.threshold, 1 / kernel, 0.0)
        else:
            inverse = size.clamp_min_(self.threshold).copysign_(kernel).reciprocal_()
        inverse[0, 0, 0] = 0
        return inverse / _mean(inverse * kernel, voxels) if self.scaled else inverse


@lru_cache(maxsize=2)  # making the filter takes about as long as using it
def _remembered(
    division: ThresholdedDivision, voxels: tuple[int, int, int], voxel_size: Vector, direction: Vector
) -> Tensor:
    return division.filter(dipole_kernel(voxels, voxel_size, direction), voxels)


@dataclass(frozen=True)
class ClosedForm:
    """min ||Dχ - δ||² + α ||∇χ||² in k-space.

    Source: Bilgic 2014.

    Attributes:
        regularisation: α, in units of a voxel's neighbour differences; None takes (noise / jump)².
        jump: spread in ppm of the differences between neighbours that is expected, for α from the noise.
    """

    regularisation: float | None = None
    jump: float = 0.03

    def __call__(self, local: LocalField) -> SusceptibilityMap:
        """Invert."""
        alpha = (local.noise / self.jump) ** 2 if self.regularisation is None else self.regularisation
        kernel = local.kernel
        below = kernel.square().add_(laplacian_kernel(local.voxels, like=kernel), alpha=max(alpha, 1e-8))
        below[0, 0, 0] = 1
        return _filtered(local, (kernel / below)[None])


@dataclass(frozen=True)
class Cosmos:
    """Least squares of several orientations of the object in B0.

    Source: Liu 2009.

    Attributes:
        floor: least value of the sum of D² that is divided by.
    """

    floor: float = 1e-2

    def __call__(self, local: LocalField) -> SusceptibilityMap:
        """Invert."""
        kernels = local.kernels
        return _filtered(local, kernels / kernels.square().sum(0).clamp_min(self.floor))


def laplacian_kernel(voxels: tuple[int, ...], *, like: Tensor) -> Tensor:
    """Σ |1 - exp(-2πi k / N)|², minus the Laplacian of neighbour differences, (side, side, side // 2 + 1)."""
    total = torch.zeros((), dtype=torch.float64)
    for axis, side in enumerate(voxels):
        steps = torch.arange(side // 2 + 1 if axis == 2 else side, dtype=torch.float64)
        shape = [1, 1, 1]
        shape[axis] = -1
        total = total + (2 - 2 * torch.cos(2 * math.pi * steps / side)).view(shape)
    return total.to(like)


def _filtered(local: LocalField, filters: Tensor) -> SusceptibilityMap:
    spectrum = torch.fft.rfftn(local.field, dim=AXES).mul_(filters)
    summed = spectrum[0] if len(filters) == 1 else spectrum.sum(0)
    value = torch.fft.irfftn(summed, s=local.voxels, dim=AXES)

    def spread() -> Tensor:
        return torch.where(local.mask, filtered_deviation(filters, local.variance), 0.0)

    return SusceptibilityMap(value, spread, _EXACT)


def _mean(spectrum: Tensor, voxels: tuple[int, ...]) -> Tensor:
    """Mean over the whole k-space of a real, even function given on half of it."""
    return torch.fft.irfftn(spectrum, s=voxels, dim=AXES)[0, 0, 0]
