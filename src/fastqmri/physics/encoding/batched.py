"""Cartesian encoding of many objects at once, each with its own coils and samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from fastqmri.core import ShapeError
from fastqmri.physics.encoding.fourier import Fourier


@final
@dataclass(frozen=True)
class BatchedEncoding:
    """E of each object of a batch: `CartesianEncoding`, object by object.

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
        return self._fourier(images[:, :, None] * self.sensitivities[:, None]) * self.sampling[:, :, None]

    def adjoint(self, kspace: Tensor) -> Tensor:
        """Images (batch, contrast, *voxels) of k-space (batch, contrast, coil, *k)."""
        self._check(kspace, self.sensitivities.ndim + 1)
        coils = self._fourier.adjoint(kspace * self.sampling[:, :, None])
        return (coils * self.sensitivities.conj()[:, None]).sum(2)

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
    def _fourier(self) -> Fourier:
        return Fourier(self.sensitivities.ndim - 2)

    def _check(self, x: Tensor, dimensions: int) -> None:
        voxels = self.sensitivities.shape[2:]
        if x.ndim != dimensions or len(x) != len(self.sensitivities) or x.shape[-len(voxels) :] != voxels:
            raise ShapeError(
                f"a tensor of {tuple(x.shape)} for sensitivities {tuple(self.sensitivities.shape)}",
                "images are (batch, contrast, *voxels), k-space is (batch, contrast, coil, *k).",
                "Give objects of this batch, the contrasts second.",
            )
