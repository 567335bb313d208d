"""Rigid motion between contrasts."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample


def draw_motion(
    contrasts: int, dimensions: int, *, rotation: float, translation: float, generator: torch.Generator
) -> Tensor:
    """One random pose for each contrast, the first one at rest: (contrast, pose) float64.

    A pose is, in a plane, (turn in rad, shift in mm along both axes); in space, turns about the three axes and shifts
    along them.

    Args:
        contrasts: number.
        dimensions: 2 or 3.
        rotation: largest turn, rad.
        translation: largest shift along an axis, mm.
        generator: draws evenly between plus and minus the largest.
    """
    turns = 1 if dimensions == 2 else 3
    pose = 2 * torch.rand(contrasts, turns + dimensions, dtype=torch.float64, generator=generator) - 1
    pose[:, :turns] *= rotation
    pose[:, turns:] *= translation
    pose[0] = 0
    return pose


def move(images: Tensor, motion: Tensor, voxel_size: tuple[float, ...]) -> Tensor:
    """Images (contrast, *voxels), each turned about the middle of the field of view and shifted, linearly interpolated.

    A positive turn takes the first axis of a plane towards the second.

    Args:
        images: real or complex; zero beyond the field of view.
        motion: (contrast, pose) of `draw_motion`.
        voxel_size: mm.
    """
    if images.is_complex():
        real, imaginary = (move(part, motion, voxel_size) for part in (images.real, images.imag))
        return torch.complex(real, imaginary)
    dimensions = images.ndim - 1
    turns = motion.shape[1] - dimensions
    half = torch.tensor(voxel_size, dtype=torch.float64) * torch.tensor(images.shape[1:]) / 2
    rows = []
    for pose in motion.double():
        turn = _rotation(pose[:turns])
        # from where in the object each voxel comes, in halves of the field of view
        matrix = turn.T * half[None, :] / half[:, None]
        shift = -(turn.T @ pose[turns:]) / half
        rows.append(torch.cat([matrix.flip(0, 1), shift.flip(0)[:, None]], 1))
    grid = affine_grid(torch.stack(rows).to(images), [len(images), 1, *images.shape[1:]], align_corners=False)
    return grid_sample(images[:, None], grid, mode="bilinear", padding_mode="zeros", align_corners=False)[
        :, 0
    ]


def _rotation(turns: Tensor) -> Tensor:
    """Matrix of a turn in a plane, or of turns about the first, then the second, then the third axis."""
    dimensions = 2 if len(turns) == 1 else 3
    total = torch.eye(dimensions, dtype=torch.float64)
    planes = ((0, 1),) if dimensions == 2 else ((1, 2), (2, 0), (0, 1))
    for angle, (a, b) in zip(turns.tolist(), planes, strict=True):
        turn = torch.eye(dimensions, dtype=torch.float64)
        turn[a, a] = turn[b, b] = math.cos(angle)
        turn[b, a], turn[a, b] = math.sin(angle), -math.sin(angle)
        total = turn @ total
    return total
