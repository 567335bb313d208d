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
    return smooth_textures(1, voxels, spread, length, generator=generator)[0]


def smooth_textures(
    count: int,
    voxels: tuple[int, ...],
    spread: float,
    length: float,
    *,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """Factors (count, *voxels) round one, each as of `smooth_texture`."""
    noise = torch.randn((count, *voxels), dtype=dtype, generator=generator)
    axes = tuple(range(1, len(voxels) + 1))
    spectrum = torch.fft.rfftn(noise, dim=axes)
    for axis, side in enumerate(voxels):
        transform = torch.fft.rfftfreq if axis == len(voxels) - 1 else torch.fft.fftfreq
        window = torch.exp(-2 * (math.pi * length * transform(side, dtype=dtype)) ** 2)
        spectrum = spectrum * window.view(-1, *(1,) * (len(voxels) - axis - 1))
    smooth = torch.fft.irfftn(spectrum, s=voxels, dim=axes)
    smooth = smooth - smooth.mean(axes, keepdim=True)
    deviation = smooth.square().mean(axes, keepdim=True).sqrt().clamp_min(1e-30)
    return 1 + spread * (smooth / deviation).clamp(-3, 3)


def smooth_field(voxels: tuple[int, ...], low: float, high: float, *, generator: torch.Generator) -> Tensor:
    """A field (*voxels) from ``low`` to ``high``: random waves of less than a period over the field of view."""
    return smooth_fields(1, voxels, low, high, generator=generator)[0]


def smooth_fields(
    count: int,
    voxels: tuple[int, ...],
    low: float | Tensor,
    high: float | Tensor,
    *,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """Fields (count, *voxels), each as of `smooth_field`; the limits may differ, (count, 1, …)."""
    drawn = torch.rand((count, 4, len(voxels) + 1), dtype=torch.float64, generator=generator)
    wave = (2 * drawn[..., :-1] - 1).to(dtype)
    phase = (2 * math.pi * drawn[..., -1]).to(dtype)
    angle = math.pi * torch.einsum("nwa,a...->nw...", wave, coordinates(voxels).to(dtype))
    value = torch.cos(angle + phase.view(count, 4, *(1,) * len(voxels))).sum(1)
    axes = tuple(range(1, len(voxels) + 1))
    least = value.amin(axes, keepdim=True)
    span = (value.amax(axes, keepdim=True) - least).clamp_min(1e-30)
    return low + (high - low) * (value - least) / span


def shares(fine: Tensor, tissues: int, parts: tuple[int, ...]) -> Tensor:
    """How much of each voxel every tissue fills, (tissue, *voxels) float32.

    Args:
        fine: labels of the parts of voxels, 0 for outside and 1 … ``tissues``.
        tissues: number.
        parts: of a voxel along each axis.
    """
    pool = avg_pool2d if fine.ndim == 2 else avg_pool3d
    return torch.stack([pool((fine == t)[None, None].float(), parts)[0, 0] for t in range(1, tissues + 1)])
