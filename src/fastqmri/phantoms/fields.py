"""Smooth random fields over voxels, and shares of voxels."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, avg_pool3d


def coordinates(voxels: tuple[int, ...], supersampling: int = 1) -> Tensor:
    """(axis, *voxels) positions, the edges of the field of view at -1 and 1, each voxel split along every axis."""
    axes = []
    for side in voxels:
        fine = side * supersampling
        axes.append((2 * torch.arange(fine, dtype=torch.float64) + 1) / fine - 1)
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def smooth_texture(
    voxels: tuple[int, ...], spread: float, length: float, *, generator: torch.Generator
) -> Tensor:
    """Factors (*voxels) round one: Gaussian noise, smoothed, at most three standard deviations away.

    Args:
        voxels: matrix.
        spread: standard deviation over the field of view.
        length: standard deviation of the smoothing in voxels.
        generator: draws it.
    """
    noise = torch.randn(voxels, dtype=torch.float64, generator=generator)
    axes = tuple(range(len(voxels)))
    spectrum = torch.fft.fftn(noise, dim=axes)
    for axis, side in enumerate(voxels):
        frequency = torch.fft.fftfreq(side, dtype=torch.float64)
        window = torch.exp(-2 * (math.pi * length * frequency) ** 2)
        spectrum = spectrum * window.view(-1, *(1,) * (len(voxels) - axis - 1))
    smooth = torch.fft.ifftn(spectrum, dim=axes).real
    smooth = smooth - smooth.mean()
    deviation = smooth.square().mean().sqrt().clamp_min(1e-30)
    return 1 + spread * (smooth / deviation).clamp(-3, 3)


def smooth_field(voxels: tuple[int, ...], low: float, high: float, *, generator: torch.Generator) -> Tensor:
    """A field (*voxels) from ``low`` to ``high``: random waves of less than a period over the field of view."""
    position = coordinates(voxels)
    value = torch.zeros(voxels, dtype=torch.float64)
    for _ in range(4):
        wave = 2 * torch.rand(len(voxels), dtype=torch.float64, generator=generator) - 1
        phase = 2 * math.pi * torch.rand(1, dtype=torch.float64, generator=generator)
        value = value + torch.cos(math.pi * torch.einsum("a,a...->...", wave, position) + phase)
    span = (value.max() - value.min()).clamp_min(1e-30)
    return low + (high - low) * (value - value.min()) / span


def shares(fine: Tensor, tissues: int, parts: tuple[int, ...]) -> Tensor:
    """How much of each voxel every tissue fills, (tissue, *voxels) float32.

    Args:
        fine: labels of the parts of voxels, 0 for outside and 1 … ``tissues``.
        tissues: number.
        parts: of a voxel along each axis.
    """
    pool = avg_pool2d if fine.ndim == 2 else avg_pool3d
    return torch.stack([pool((fine == t)[None, None].float(), parts)[0, 0] for t in range(1, tissues + 1)])
