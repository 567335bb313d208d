"""Noise taken out of a series of images before they are mapped."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fastqmri.core import DataError, ShapeError


def local_principal_components(data: Tensor, noise: float, *, radius: int = 1) -> tuple[Tensor, Tensor]:
    """Keep what stands out of the noise in every small cube of a series; average the cubes that share a voxel.

    In a cube of N voxels and M contrasts the eigenvalues of pure noise end at σ² (1 + sqrt(M/N))²; principal
    components below are dropped. Tissue of a few kinds needs a few components, so that most of the noise goes and
    little else. Standard deviations of maps made from the result should use the noise of the original images: they
    are then upper bounds.

    Args:
        data: (contrast, x, y, z), real, finite.
        noise: σ of the images.
        radius: of the cube, in voxels; 1 means 3 × 3 × 3.

    Returns:
        The denoised images, (contrast, x, y, z), and the number of components kept around each voxel, (x, y, z).

    Raises:
        ShapeError: not a series of volumes larger than the cube.
        DataError: samples that are not finite, or noise that is not positive.

    Source: Veraart 2016, with the noise known.
    """
    width = 2 * radius + 1
    if data.ndim != 4 or min(data.shape[1:]) <= radius:
        raise ShapeError(
            f"images of shape {tuple(data.shape)}",
            f"cubes of {width} voxels need a series of volumes, (contrast, x, y, z), larger than half a cube.",
            "Choose a smaller radius, or leave single slices as they are.",
        )
    if not noise > 0 or not bool(torch.isfinite(data).all()):
        raise DataError(
            f"noise = {noise:g}, or samples that are not finite",
            "components can't be told from noise.",
            "Give the noise standard deviation, and replace NaN.",
        )
    contrasts, *shape = data.shape
    padded = torch.nn.functional.pad(data.double()[None], (radius,) * 6, mode="reflect")[0]
    cubes = padded.unfold(1, width, 1).unfold(2, width, 1).unfold(3, width, 1)
    edge = noise**2 * (1 + math.sqrt(contrasts / width**3)) ** 2
    total = torch.zeros_like(padded)
    weight = torch.zeros_like(padded[0])
    kept = torch.empty(shape, dtype=torch.int16)
    offsets = torch.cartesian_prod(*(torch.arange(width),) * 3).tolist()
    height, depth = shape[1:]
    for x in range(shape[0]):
        clean, count = _clean(cubes[:, x].flatten(3).flatten(1, 2).transpose(0, 1), edge)
        kept[x] = count.to(torch.int16).view(height, depth)
        share = (1 / (1 + count.double())).view(height, depth)  # cubes of fewer components are trusted more
        values = clean.transpose(0, 1).view(contrasts, height, depth, width, width, width)
        for i, j, k in offsets:
            total[:, x + i, j : j + height, k : k + depth] += share * values[..., i, j, k]
            weight[x + i, j : j + height, k : k + depth] += share
    inside = tuple(slice(radius, radius + size) for size in shape)
    return (total / weight)[(slice(None), *inside)].to(data.dtype), kept


def _clean(cube: Tensor, edge: float) -> tuple[Tensor, Tensor]:
    """(voxel, contrast, cube) without the components below the edge, and how many were kept."""
    mean = cube.mean(2, keepdim=True)
    centred = cube - mean
    values, vectors = torch.linalg.eigh(centred @ centred.transpose(1, 2) / cube.shape[2])
    keep = (values > edge).to(cube)
    projected = vectors.transpose(1, 2) @ centred
    return vectors @ (keep[:, :, None] * projected) + mean, keep.sum(1)
