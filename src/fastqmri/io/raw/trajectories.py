"""Trajectories of files, whose unit the format leaves open."""

from __future__ import annotations

import math
from pathlib import Path

from torch import Tensor

from fastqmri.core import FileError, UnknownNameError

UNITS = ("1/voxel", "1/fov", "rad/voxel", "1/m")


def in_radians(
    trajectory: Tensor, unit: str | None, matrix: Tensor, encoded_voxel: Tensor, voxel: Tensor, path: Path
) -> tuple[Tensor, str]:
    """A trajectory (..., sample, dimension) in rad per voxel of the image, and a sentence on how it was read.

    Args:
        trajectory: as the file has it.
        unit: ``"1/voxel"`` (-0.5 to 0.5), ``"1/fov"`` (-N/2 to N/2), ``"rad/voxel"`` (-π to π), ``"1/m"``; the first
            three refer to the encoded matrix. None guesses from the largest value.
        matrix, encoded_voxel: the encoded matrix, and its voxels in m.
        voxel: of the image, m.
        path: of the file.

    Raises:
        UnknownNameError: no such unit.
        FileError: values that are not finite, or beyond what this unit can hold.
    """
    largest = trajectory.abs().amax(tuple(range(trajectory.ndim - 1))).double()
    if not bool(largest.isfinite().all()):
        raise FileError(f"{path}: its trajectory", "it has NaN or infinite values.", "Write it again.")
    guessed = unit is None
    if unit is None:
        if float(largest.max()) <= 0.51:
            unit = "1/voxel"
        elif float(largest.max()) <= math.pi * 1.02 and float(matrix.min()) > 8:
            unit = "rad/voxel"
        else:
            unit = "1/fov"
    if unit not in UNITS:
        raise UnknownNameError(
            f"trajectory unit {unit!r}", f"known are {', '.join(UNITS)}.", "Name one of them."
        )
    scale = {
        "1/voxel": 2 * math.pi * voxel / encoded_voxel,
        "1/fov": 2 * math.pi * voxel / (encoded_voxel * matrix),
        "rad/voxel": voxel / encoded_voxel,
        "1/m": 2 * math.pi * voxel,
    }[unit]
    radians = trajectory * scale.to(trajectory.dtype)
    reach = float((largest * scale.abs()).max())
    if reach > math.pi * 1.02:
        raise FileError(
            f"{path}: a trajectory up to {float(largest.max()):.4g}, {'read as' if guessed else 'in'} {unit}",
            f"that is {reach:.4g} rad per voxel; beyond π the image's voxels can't tell it apart.",
            f"Say its unit ({', '.join(UNITS)}), or correct the header's matrix and field of view.",
        )
    return radians, f"trajectory {'taken to be' if guessed else 'read'} in {unit}"
