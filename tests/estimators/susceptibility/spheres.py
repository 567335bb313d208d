"""Uniform spheres, whose fields are known in closed form, in and beside an ellipsoid that stands for the brain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

AIR = 9.4
"""Susceptibility of air relative to water in ppm."""


@dataclass(frozen=True)
class Sphere:
    """Middle and radius in mm, susceptibility relative to its surroundings in ppm."""

    middle: tuple[float, float, float]
    radius: float
    chi: float


@dataclass(frozen=True)
class Head:
    """Fields in ppm and susceptibility of the sources inside, on voxels (x, y, z)."""

    mask: Tensor
    local: Tensor
    background: Tensor
    chi: Tensor
    voxel_size: tuple[float, float, float]
    b0_direction: tuple[float, float, float]


def places(shape: Sequence[int], voxel_size: Sequence[float]) -> Tensor:
    """(3, x, y, z) middles of voxels in mm from the middle of the volume."""
    axes = [
        (torch.arange(n, dtype=torch.float64) - (n - 1) / 2) * edge
        for n, edge in zip(shape, voxel_size, strict=True)
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def field_of(sphere: Sphere, where: Tensor, direction: Sequence[float]) -> Tensor:
    """Field in ppm of a sphere: that of a dipole outside, none inside (with the Lorentz sphere taken off)."""
    away = where - torch.tensor(sphere.middle, dtype=torch.float64).view(3, 1, 1, 1)
    squares = (away**2).sum(0)
    along = torch.einsum("i,ixyz->xyz", torch.tensor(direction, dtype=torch.float64), away)
    outside = sphere.chi / 3 * sphere.radius**3 * squares**-1.5 * (3 * along**2 / squares - 1)
    return torch.where(squares < sphere.radius**2, 0, outside)


def head(
    shape: tuple[int, int, int] = (56, 60, 40),
    voxel_size: tuple[float, float, float] = (1.6, 1.6, 2.0),
    direction: tuple[float, float, float] = (0.0, 0.0, 1.0),
    inside: Sequence[Sphere] = (
        Sphere((-12, 4, 2), 7, 0.13),
        Sphere((12, 4, 2), 7, 0.13),
        Sphere((0, -14, -4), 5, -0.3),
        Sphere((3, 18, 8), 4, 0.25),
        Sphere((-18, -12, 6), 5, 0.1),
        Sphere((17, -15, 10), 4, -0.1),
    ),
    outside: Sequence[Sphere] = (Sphere((2, 44, -14), 11, AIR), Sphere((-30, -20, -34), 8, AIR)),
) -> Head:
    """A brain with small sources, beside cavities full of air."""
    where = places(shape, voxel_size)
    axes = torch.tensor([36.0, 41.0, 33.0], dtype=torch.float64).view(3, 1, 1, 1)
    mask = ((where / axes) ** 2).sum(0) <= 1
    for cavity in outside:
        away = where - torch.tensor(cavity.middle, dtype=torch.float64).view(3, 1, 1, 1)
        mask &= (away**2).sum(0) > (cavity.radius + 3) ** 2
    chi = torch.zeros(shape, dtype=torch.float64)
    for sphere in inside:
        away = where - torch.tensor(sphere.middle, dtype=torch.float64).view(3, 1, 1, 1)
        chi[(away**2).sum(0) < sphere.radius**2] += sphere.chi
    local = torch.stack([field_of(s, where, direction) for s in inside]).sum(0)
    background = torch.stack([field_of(s, where, direction) for s in outside]).sum(0)
    return Head(mask, local, background, chi, voxel_size, direction)


def error(estimate: Tensor, truth: Tensor, voxels: Tensor) -> float:
    """Root mean square error in percent of the truth's, both without their means over the voxels."""
    a, b = estimate[voxels], truth[voxels]
    a, b = a - a.mean(), b - b.mean()
    return 100 * float((a - b).norm() / b.norm())


def echoes(
    head: Head,
    times: Sequence[float],
    field_strength: float,
    generator: torch.Generator,
    *,
    noise: float = 0.01,
) -> Tensor:
    """(echo, x, y, z) complex images of unit magnitude at TE = 0, with a coil's phase, and noise everywhere."""
    frequency = (head.local + head.background) * 42.577478518 * field_strength
    x, y, _ = places(head.mask.shape, head.voxel_size)
    te = torch.tensor(list(times), dtype=torch.float64).view(-1, 1, 1, 1)
    magnitude = head.mask * torch.exp(-te / 0.04) * (1 + 0.002 * x)
    clean = torch.polar(magnitude, 0.8 + 0.01 * x - 0.005 * y + 2 * math.pi * frequency * te)
    drawn = torch.randn(2, *clean.shape, generator=generator, dtype=torch.float64)
    return clean + noise * torch.complex(*drawn)


def affine_of(head: Head) -> Tensor:
    """Voxel to world: the voxel axes turned about x so that z of the world is the head's B0."""
    x, y, z = head.b0_direction
    assert x == 0
    turn = torch.tensor([[1.0, 0, 0], [0, z, -y], [0, y, z]], dtype=torch.float64)
    affine = torch.eye(4, dtype=torch.float64)
    affine[:3, :3] = turn @ torch.diag(torch.tensor(head.voxel_size, dtype=torch.float64))
    affine[:3, 3] = torch.tensor([-40.0, -50, -30])
    return affine


def correlation(a: Tensor, b: Tensor) -> float:
    """Pearson's."""
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1])
