"""Cartesian encoding of many objects at once, each with its own coils and samples."""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from fastqmri.core import ShapeError


@final
@dataclass(frozen=True)
class BatchedEncoding:
    """E of each object of a batch: `CartesianEncoding`, object by object.

    The centred transform of `Fourier` is made with factors on coils and masks, which costs nothing beside it.

    Attributes:
        sensitivities: (batch, coil, *voxels) complex.
        sampling: (batch, contrast or 1, *k) bool; axes of length 1 count for all.

    Raises:
        ShapeError: masks of another matrix or another number of objects than the sensitivities.
    """

    sensitivities: Tensor
    sampling: Tensor

    def __post_init__(self) -> None:
        voxels, masked = self.sensitivities.shape[2:], self.sampling.shape[2:]
        fits = len(voxels) == len(masked) and all(m in (1, v) for m, v in zip(masked, voxels, strict=True))
        if not fits or len(self.sensitivities) != len(self.sampling):
            raise ShapeError(
                f"masks {tuple(self.sampling.shape)} for sensitivities {tuple(self.sensitivities.shape)}",
                "they are (batch, contrast, *k) and (batch, coil, *voxels) of the same objects.",
                "Give every object its mask, on its own matrix.",
            )

    def __call__(self, images: Tensor) -> Tensor:
        """k-space (batch, contrast, coil, *k) of images (batch, contrast, *voxels)."""
        self._check(images, self.sensitivities.ndim)
        phase, constant = self._centring()
        coils = images[:, :, None] * (self.sensitivities * phase)[:, None]
        return torch.fft.fftn(coils, dim=self._axes, norm="ortho") * self._centred(phase * constant)

    def adjoint(self, kspace: Tensor) -> Tensor:
        """Images (batch, contrast, *voxels) of k-space (batch, contrast, coil, *k)."""
        self._check(kspace, self.sensitivities.ndim + 1)
        phase, constant = self._centring()
        seen = kspace * self._centred((phase * constant).conj())
        coils = torch.fft.ifftn(seen, dim=self._axes, norm="ortho")
        return (coils * (self.sensitivities * phase).conj()[:, None]).sum(2)

    def gram(self, images: Tensor) -> Tensor:
        """E^H E of images (batch, contrast, *voxels), without what centring would do and undo again.

        Axes along which all masks are alike are not transformed.
        """
        self._check(images, self.sensitivities.ndim)
        dimensions = self.sensitivities.ndim - 2
        axes = tuple(a for a in range(-dimensions, 0) if self.sampling.shape[a] > 1)
        mask = (torch.fft.ifftshift(self.sampling, axes) if axes else self.sampling)[:, :, None]
        coils = images[:, :, None] * self.sensitivities[:, None]
        seen = torch.fft.ifftn(torch.fft.fftn(coils, dim=axes) * mask, dim=axes) if axes else coils * mask
        return (seen * self.sensitivities.conj()[:, None]).sum(2)

    @property
    def _axes(self) -> tuple[int, ...]:
        return tuple(range(2 - self.sensitivities.ndim, 0))

    def _centred(self, phase: Tensor) -> Tensor:
        """Mask and what centring asks for in k-space, as one factor of (batch, contrast, coil, *k)."""
        return (self.sampling * phase)[:, :, None]

    def _centring(self) -> tuple[Tensor, complex]:
        """Phases (*voxels) and a constant that centre a transform without moving numbers about: signs on even sides.

        With the middle c = N//2, exp(-2πi (k - c)(r - c) / N) is exp(-2πi k r / N) times exp(2πi c r / N) and
        exp(2πi c k / N), times exp(-2πi c² / N).
        """
        like = self.sensitivities.real
        voxels = self.sensitivities.shape[2:]
        total, constant = torch.ones((), dtype=like.dtype, device=like.device), 1.0 + 0.0j
        for axis, side in enumerate(voxels):
            place, middle = torch.arange(side, device=like.device), side // 2
            if side % 2:
                turn = 2 * math.pi / side * (place * middle % side)
                phase = torch.polar(torch.ones_like(turn, dtype=like.dtype), turn.to(like.dtype))
                constant *= cmath.exp(-2j * math.pi * (middle * middle % side) / side)
            else:
                phase = 1 - 2 * (place % 2).to(like.dtype)
                constant *= 1 - 2 * (middle % 2)
            total = total * phase.view(-1, *(1,) * (len(voxels) - axis - 1))
        return total, constant if total.is_complex() else constant.real

    def _check(self, x: Tensor, dimensions: int) -> None:
        voxels = self.sensitivities.shape[2:]
        if x.ndim != dimensions or len(x) != len(self.sensitivities) or x.shape[-len(voxels) :] != voxels:
            raise ShapeError(
                f"a tensor of {tuple(x.shape)} for sensitivities {tuple(self.sensitivities.shape)}",
                "images are (batch, contrast, *voxels), k-space is (batch, contrast, coil, *k).",
                "Give objects of this batch, the contrasts second.",
            )
