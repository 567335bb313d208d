"""How far a susceptibility map is from the truth, as the challenges of the field count it."""

from __future__ import annotations

import torch
from torch import Tensor

from fastqmri.estimators.susceptibility.filters import fast_length


def demeaned_error(chi: Tensor, truth: Tensor, mask: Tensor) -> float:
    """Root mean square error in percent of the truth's spread, both without their means over the mask.

    Args:
        chi: (*voxels) in ppm.
        truth: (*voxels) in ppm.
        mask: (*voxels) bool.
    """
    got, wanted = _demeaned(chi, truth, mask)
    return 100 * float((got - wanted).norm() / wanted.norm())


def detrended_error(chi: Tensor, truth: Tensor, mask: Tensor) -> float:
    """`demeaned_error` after the straight line of ``chi`` over ``truth`` was made the diagonal, in percent.

    Args:
        chi: (*voxels) in ppm.
        truth: (*voxels) in ppm.
        mask: (*voxels) bool.
    """
    got, wanted = _demeaned(chi, truth, mask)
    return 100 * float((got / slope(chi, truth, mask) - wanted).norm() / wanted.norm())


def slope(chi: Tensor, truth: Tensor, mask: Tensor) -> float:
    """Of the straight line of ``chi`` over ``truth``; 1 is right, below it is underestimation.

    Args:
        chi: (*voxels) in ppm.
        truth: (*voxels) in ppm.
        mask: (*voxels) bool.
    """
    got, wanted = _demeaned(chi, truth, mask)
    return float((got * wanted).sum() / wanted.square().sum())


def correlation(chi: Tensor, truth: Tensor, mask: Tensor) -> float:
    """Pearson's, over the mask.

    Args:
        chi: (*voxels) in ppm.
        truth: (*voxels) in ppm.
        mask: (*voxels) bool.
    """
    got, wanted = _demeaned(chi, truth, mask)
    return float((got * wanted).sum() / (got.norm() * wanted.norm()))


def high_frequency_error(chi: Tensor, truth: Tensor, mask: Tensor, *, width: float = 1.5) -> float:
    """HFEN: error of the Laplacian of a Gaussian over the mask, in percent of the truth's.

    Args:
        chi: (*voxels) in ppm, taken as zero outside the mask like the truth.
        truth: (*voxels) in ppm.
        mask: (*voxels) bool.
        width: standard deviation of the Gaussian in voxels; its support is ten of them.
    """
    reach = round(5 * width)
    away = torch.arange(-reach, reach + 1, dtype=torch.float64)
    squared = away.view(-1, 1, 1) ** 2 + away.view(-1, 1) ** 2 + away**2
    gauss = torch.exp(-squared / (2 * width**2))
    gauss = gauss / gauss.sum()
    kernel = gauss * (squared - 3 * width**2) / width**4
    kernel = kernel - kernel.mean()
    maps = torch.stack([torch.where(mask, x.double(), 0.0) for x in (chi, truth)])
    got, wanted = _convolved(maps, kernel)
    return 100 * float((got - wanted)[mask].norm() / wanted[mask].norm())


def structural_similarity(chi: Tensor, truth: Tensor, mask: Tensor) -> float:
    """XSIM: structural similarity with constants for susceptibility, mean over the mask; 1 is best.

    Windows of five voxels each way, constants 0.01² and 0.001² ppm².

    Args:
        chi: (*voxels) in ppm, taken as zero outside the mask like the truth.
        truth: (*voxels) in ppm.
        mask: (*voxels) bool.
    """
    a, b = (torch.where(mask, x.double(), 0.0) for x in (chi, truth))
    box = torch.full((5, 5, 5), 1 / 125, dtype=torch.float64)
    mean_a, mean_b, square_a, square_b, product = _convolved(torch.stack([a, b, a * a, b * b, a * b]), box)
    # sample variances, as structural similarity has them
    more = 125 / 124
    variance_a, variance_b = (square_a - mean_a**2) * more, (square_b - mean_b**2) * more
    covariance = (product - mean_a * mean_b) * more
    first, second = 0.01**2, 0.001**2
    similarity = (2 * mean_a * mean_b + first) * (2 * covariance + second)
    similarity = similarity / ((mean_a**2 + mean_b**2 + first) * (variance_a + variance_b + second))
    return float(similarity[mask].mean())


def _demeaned(chi: Tensor, truth: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    got, wanted = chi[mask].double(), truth[mask].double()
    return got - got.mean(), wanted - wanted.mean()


def _convolved(maps: Tensor, kernel: Tensor) -> Tensor:
    """(map, *voxels) with zeros beyond the edges, by a kernel that is even."""
    reach = kernel.shape[0] // 2
    sides = [fast_length(side + 2 * reach) for side in maps.shape[1:]]
    spectrum = torch.fft.rfftn(maps, s=sides, dim=(1, 2, 3)) * torch.fft.rfftn(kernel, s=sides)
    x, y, z = (slice(reach, reach + side) for side in maps.shape[1:])
    return torch.fft.irfftn(spectrum, s=sides, dim=(1, 2, 3))[:, x, y, z]
