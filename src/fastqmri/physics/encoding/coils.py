"""Receive coils."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fastqmri.core import ShapeError
from fastqmri.physics.encoding.operator import LinearOperator


class Sensitivities(LinearOperator):
    """What each coil sees: (..., *voxels) -> (..., coil, *voxels).

    Args:
        maps: (coil, *voxels) complex, or (contrast, coil, *voxels).
        dimensions: number of voxel axes.

    Raises:
        ShapeError: images of another matrix, or k-space of another number of coils.
    """

    def __init__(self, maps: Tensor, dimensions: int) -> None:
        super().__init__()
        self.register_buffer("maps", maps)
        self.axis = -dimensions - 1
        self.domain = tuple(maps.shape[-dimensions:])
        self.range = tuple(maps.shape[self.axis :])

    maps: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Coil images of images."""
        self.check_images(x)
        return x.unsqueeze(self.axis) * self.maps

    def check_images(self, x: Tensor) -> None:
        """Refuse images of another matrix.

        Raises:
            ShapeError: they are.
        """
        if tuple(x.shape[self.axis + 1 :]) != self.domain:
            raise ShapeError(
                f"images of {tuple(x.shape)} for coil sensitivities of {self.domain}",
                "the last axes must be the voxels of the coil maps.",
                "Give images of the coil maps' matrix.",
            )

    def adjoint(self, y: Tensor) -> Tensor:
        """Images, the coils summed with their conjugate sensitivities.

        Raises:
            ShapeError: another number of coils, or another matrix.
        """
        if tuple(y.shape[self.axis :]) != self.range:
            assert self.range is not None
            raise ShapeError(
                f"coil images of {tuple(y.shape)} for {self.range[0]} coil maps of {self.domain}",
                "every coil needs its sensitivity, on the same matrix.",
                "Estimate the coil maps from these data, or give as many as there are coils.",
            )
        return (y * self.maps.conj()).sum(self.axis)


def synthetic_sensitivities(voxels: tuple[int, ...], coils: int, *, generator: torch.Generator) -> Tensor:
    """Smooth coil maps (coil, *voxels), complex64, whose squares add up to one.

    Gaussians of squared width 0.6 (field of view from -1 to 1) round the rim of the first two axes, each with a linear
    phase; the third axis, if any, has the coils at alternating heights.

    Args:
        voxels: matrix.
        coils: number.
        generator: draws the phases and the angle of the first coil.
    """
    axes = [(torch.arange(side, dtype=torch.float64) - side // 2) / (side / 2) for side in voxels]
    position = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    turn, *_ = torch.rand(1, dtype=torch.float64, generator=generator)
    maps = []
    for coil in range(coils):
        angle = 2 * math.pi * (coil / coils + float(turn))
        centre = torch.zeros(len(voxels), dtype=torch.float64)
        centre[0], centre[1] = math.cos(angle), math.sin(angle)
        if len(voxels) == 3:
            centre[2] = 0.5 if coil % 2 else -0.5
        slope = math.pi / 2 * (2 * torch.rand(len(voxels), dtype=torch.float64, generator=generator) - 1)
        offset = 2 * math.pi * torch.rand(1, dtype=torch.float64, generator=generator)
        away = position - centre.view(-1, *(1,) * len(voxels))
        magnitude = torch.exp(-(away**2).sum(0) / (2 * 0.6))
        phase = (slope.view(-1, *(1,) * len(voxels)) * position).sum(0) + offset
        maps.append(torch.polar(magnitude, phase))
    raw = torch.stack(maps)
    return (raw / (raw.abs() ** 2).sum(0).sqrt()).to(torch.complex64)
