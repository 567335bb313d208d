"""Density compensation: the part of k-space that each sample stands for.

Weights are relative to a Cartesian scan of the same matrix, whose samples all have weight one; so F^H W F of a fully
sampled scan is about the identity.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fastqmri.core import DataError, ShapeError
from fastqmri.physics.encoding.nufft import NonUniformFourier


def fixed_point_density(trajectory: Tensor, voxels: tuple[int, ...], *, iterations: int = 10) -> Tensor:
    """Weights of any trajectory, that make it uniform as seen through a kernel: (sample,) or (contrast, sample).

    w <- w / K w, K the convolution with a squared sinc of the field of view, which nothing makes negative; then scaled
    so that a smooth image keeps its brightness.

    Source: Pipe 1999; the kernel is our choice.

    Args:
        trajectory: (sample, dimension) or (contrast, sample, dimension), rad per voxel.
        voxels: matrix.
        iterations: number.
    """
    with torch.no_grad():
        trajectory = trajectory.detach().double()
        doubled = tuple(2 * side for side in voxels)
        wide = NonUniformFourier(trajectory, doubled, accuracy=1e-6)
        # sides of the triangle that a squared sinc is the transform of; 2^d for the doubled matrix's scaling
        triangle = _outer([1 - (torch.arange(2 * n) - n).abs() / n for n in voxels]) * 2 ** len(voxels)
        weights = torch.ones_like(trajectory[..., 0]).unsqueeze(-2)  # an axis for the coil
        for _ in range(iterations):
            weights = weights / wide(wide.adjoint(weights) * triangle).real.clamp_min(1e-6)
        blob = _outer([torch.exp(-(((torch.arange(n) - n // 2) / (n / 8)) ** 2) / 2) for n in voxels])
        transform = NonUniformFourier(trajectory, voxels, accuracy=1e-6)
        blob = blob.expand(*weights.shape[:-1], *voxels)
        seen = transform.adjoint(weights * transform(blob)).real
        axes = tuple(range(-len(voxels), 0))
        scale = (seen * blob).sum(axes) / seen.square().sum(axes)
        return (weights * scale[..., None]).squeeze(-2)


def radial_density(spokes: Tensor, voxels: tuple[int, ...]) -> Tensor:
    """Weights of full radial spokes with evenly spaced samples, in closed form: (spoke, readout).

    In the plane each spoke stands for half the gaps to its neighbours; in three dimensions all spokes stand for equal
    solid angles.

    Args:
        spokes: (spoke, readout, dimension) through the middle, rad per voxel.
        voxels: matrix.

    Raises:
        ShapeError: no spokes, or of other dimensions than the matrix.
    """
    dimensions = len(voxels)
    if spokes.ndim != 3 or spokes.shape[-1] != dimensions or spokes.shape[1] < 2:
        raise ShapeError(
            f"spokes of {tuple(spokes.shape)} for voxels {voxels}",
            "they must be (spoke, readout, dimension), in the dimensions of the matrix.",
            "Give the trajectory before its spokes are flattened.",
        )
    spokes = spokes.detach().double()
    along = spokes[:, -1] - spokes[:, 0]
    spacing = along.norm(dim=-1) / (spokes.shape[1] - 1)
    directions = along / along.norm(dim=-1, keepdim=True)
    place = (spokes * directions[:, None]).sum(-1)
    low, high = place - spacing[:, None] / 2, place + spacing[:, None] / 2
    if dimensions == 2:
        share = _gaps(torch.atan2(directions[:, 1], directions[:, 0]) % math.pi)
        area = (high * high.abs() - low * low.abs()) / 2 * share[:, None]
    else:
        area = (high**3 - low**3) / 3 * (2 * math.pi / len(spokes))
    return area * (math.prod(voxels) / (2 * math.pi) ** dimensions)


def voronoi_density(trajectory: Tensor, voxels: tuple[int, ...]) -> Tensor:
    """Weights of any trajectory by the size of each sample's Voronoi cell: (sample,) or (contrast, sample).

    Samples in one place share its cell. Cells at the rim are closed by the mirror images of the samples near it: in the
    circle (sphere) round them where they fill one, else in the edges of k-space. Needs SciPy (extra ``voronoi``).

    Source: Rasche 1999.

    Args:
        trajectory: (sample, dimension) or (contrast, sample, dimension), rad per voxel.
        voxels: matrix.

    Raises:
        DataError: SciPy is not installed, or samples that leave cells without an end.
    """
    try:
        from scipy.spatial import ConvexHull, Voronoi
    except ImportError as error:
        raise DataError(
            "Voronoi weights without SciPy",
            "its cells are what they are found with.",
            "Install the extra fastqmri[voronoi], or take the fixed-point weights.",
        ) from error
    if trajectory.ndim == 3:
        return torch.stack([voronoi_density(own, voxels) for own in trajectory])
    points, place, sharing = torch.unique(
        # closer than this is one place
        (trajectory.detach().double() / 1e-6).round() * 1e-6,
        dim=0,
        return_inverse=True,
        return_counts=True,
    )
    dimensions = len(voxels)
    cells = Voronoi(torch.cat([points, *_mirrored(points)]).numpy())
    corners = [cells.regions[region] for region in cells.point_region[: len(points)]]
    if any(-1 in own or not own for own in corners):
        raise DataError(
            f"{len(points)} samples, some of whose Voronoi cells have no end",
            "they don't surround the middle of k-space.",
            "Take the fixed-point weights.",
        )
    if dimensions == 2:
        sizes = _areas(torch.from_numpy(cells.vertices), corners)
    else:
        sizes = torch.tensor([ConvexHull(cells.vertices[own]).volume for own in corners], dtype=torch.float64)
    return (sizes / sharing)[place] * (math.prod(voxels) / (2 * math.pi) ** dimensions)


def _mirrored(points: Tensor) -> list[Tensor]:
    """Images of samples on the other side of the rim, that close the cells at it."""
    away = points.norm(dim=-1, keepdim=True)
    edge, farthest = float(points.abs().max()), float(away.max())
    if farthest <= 1.05 * edge:
        # half the usual distance of neighbours beyond the outermost samples
        outer = points[(away > 0.95 * farthest).squeeze(-1)]
        some = outer[:: max(1, len(outer) // 256)]
        distance = torch.cdist(some, points)
        distance[distance == 0] = math.inf
        rim = farthest + float(distance.min(1).values.median()) / 2
        near = (away > 0.7 * rim).squeeze(-1)
        return [points[near] * (2 * rim / away[near] - 1)]
    images = []
    for axis in range(points.shape[-1]):
        for sign in (1, -1):
            reflected = points[sign * points[:, axis] > 0.7 * edge].clone()
            low, high = float(points[:, axis].min()), float(points[:, axis].max())
            # k-space repeats: its two edges are one, half a sample beyond the last
            beyond = (high if sign > 0 else low) + sign * (2 * math.pi - (high - low)) / 2
            reflected[:, axis] = 2 * beyond - reflected[:, axis]
            images.append(reflected)
    return images


def _areas(vertices: Tensor, corners: list[list[int]]) -> Tensor:
    """Of convex cells in the plane, whose corners are in no order."""
    cell = torch.repeat_interleave(torch.arange(len(corners)), torch.tensor([len(own) for own in corners]))
    corner = vertices[torch.tensor([index for own in corners for index in own])]
    middle = torch.zeros(len(corners), 2, dtype=corner.dtype).index_add(0, cell, corner)
    middle = middle / cell.bincount()[:, None]
    x, y = (corner - middle[cell]).T
    order = (torch.atan2(y, x) + 4 * math.pi * cell).argsort()
    x, y = x[order], y[order]
    last = torch.cat([cell[1:] != cell[:-1], torch.ones(1, dtype=torch.bool)])
    first = torch.cat([torch.ones(1, dtype=torch.bool), last[:-1]])
    following = torch.arange(1, len(cell) + 1)
    following[last] = first.nonzero().squeeze(-1)
    cross = x * y[following] - y * x[following]
    return torch.zeros(len(corners), dtype=corner.dtype).index_add(0, cell, cross) / 2


def _gaps(angle: Tensor) -> Tensor:
    """Half the angles to both neighbours among lines, which repeat after π."""
    order = angle.argsort()
    ordered = angle[order]
    ahead = torch.cat([ordered[1:], ordered[:1] + math.pi]) - ordered
    share = torch.empty_like(angle)
    share[order] = (ahead + ahead.roll(1)) / 2
    return share


def _outer(lines: list[Tensor]) -> Tensor:
    """Product of one line along each axis."""
    total = lines[0].double()
    for line in lines[1:]:
        total = total[..., None] * line.double()
    return total
