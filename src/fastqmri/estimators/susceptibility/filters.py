"""Filters of volumes that do not wrap around."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Box:
    """A volume with zeros around it, and filters on it.

    Args:
        shape: of the volume.
        margins: zeros on either side of each axis, at least; more where that makes the transform fast.
    """

    def __init__(self, shape: Sequence[int], margins: Sequence[int]) -> None:
        sides = [fast_length(side + 2 * margin) for side, margin in zip(shape, margins, strict=True)]
        self.shape = tuple(sides)
        self._inner = tuple(
            slice((large - small) // 2, (large - small) // 2 + small)
            for large, small in zip(sides, shape, strict=True)
        )

    def pad(self, x: Tensor) -> Tensor:
        """``x`` with zeros around it."""
        out = x.new_zeros(self.shape)
        out[self._inner] = x
        return out

    def crop(self, x: Tensor) -> Tensor:
        """The volume without what is around it."""
        return x[self._inner]

    def filter(self, x: Tensor, kernel: Tensor) -> Tensor:
        """``x`` times ``kernel`` (half spectrum) in the Fourier domain."""
        return torch.fft.irfftn(torch.fft.rfftn(x) * kernel, s=self.shape)


def fast_length(size: int) -> int:
    """The next length that holds no prime factor above 5, which transforms like."""
    while True:
        rest = size
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return size
        size += 1


def sphere_kernel(
    shape: Sequence[int], voxel_size: Sequence[float], radius: float, *, like: Tensor
) -> Tensor:
    """Half spectrum, real, of the mean over the voxels whose middle lies in a sphere.

    Args:
        shape: of the matrix that is filtered.
        voxel_size: edge lengths in mm.
        radius: in mm.
        like: a tensor whose type and device the result gets.
    """
    squares = torch.zeros(tuple(shape), dtype=torch.float64)
    for axis, (side, edge) in enumerate(zip(shape, voxel_size, strict=True)):
        place = torch.fft.fftfreq(side, 1 / side, dtype=torch.float64) * edge
        squares = squares + (place**2).reshape([-1 if a == axis else 1 for a in range(3)])
    sphere = (squares <= radius**2 * (1 + 1e-9)).double()
    return torch.fft.rfftn(sphere / sphere.sum()).real.to(like)


class Cut:
    """What of a volume lies around a mask, and back.

    Args:
        mask: (x, y, z) bool.
        margin: voxels beyond the mask on every side, as far as the volume reaches.
    """

    def __init__(self, mask: Tensor, margin: int = 0) -> None:
        self._shape = tuple(mask.shape)
        parts = []
        for axis, side in enumerate(self._shape):
            there = mask.any(dim=tuple(a for a in range(3) if a != axis)).nonzero()
            parts.append(slice(max(int(there.min()) - margin, 0), min(int(there.max()) + 1 + margin, side)))
        self._part = tuple(parts)

    def __call__(self, x: Tensor) -> Tensor:
        """The part (x, y, z) of a volume."""
        return x[self._part]

    def back(self, x: Tensor) -> Tensor:
        """A part in its place, zeros around it."""
        out = x.new_zeros(self._shape)
        out[self._part] = x
        return out
