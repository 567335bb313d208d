"""What was measured (y of the equation)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from fastqmri.core.acquisition import Acquisition
from fastqmri.core.errors import DataError, ShapeError


class Encoding(Protocol):
    """What k-space is of images: a linear operator that knows its voxels."""

    domain: tuple[int, ...] | None
    """Shape of the voxel axes of the images."""
    range: tuple[int, ...] | None
    """Shape of the last axes of k-space, coils first."""

    def __call__(self, x: Tensor) -> Tensor:
        """k-space (contrast, coil, *samples) of images (contrast, *voxels)."""
        ...

    def adjoint(self, y: Tensor) -> Tensor:
        """Images (contrast, *voxels) of k-space (contrast, coil, *samples)."""
        ...


@dataclass(frozen=True)
class Measurement:
    """Contrast images or their k-space, the acquisition that made them, and what else is known of the voxels.

    Attributes:
        data: (contrast, *voxels) images, real (magnitude or signed) or complex; with an encoding
            (contrast, coil, *samples) complex k-space.
        acquisition: what the scanner was told.
        mask: (*voxels) bool; voxels outside are not estimated. None takes all.
        known: parameter name -> (*voxels) map of a quantity measured elsewhere (``B1``, fraction of nominal).
        noise: standard deviation of the noise of one (real) channel, in units of the data; None lets the
            estimator find it.
        saturation: value at and above which samples are clipped; None lets the estimator find it,
            infinity says that nothing is clipped.
        affine: (4, 4) voxel to world in mm, or None.
        encoding: E, for k-space; None for images.

    Raises:
        ShapeError: contrasts, mask, maps or k-space that do not match.
        DataError: an empty mask, data without a single finite value, or k-space that isn't complex.
    """

    data: Tensor
    acquisition: Acquisition
    mask: Tensor | None = None
    known: Mapping[str, Tensor] = field(default_factory=dict)
    noise: float | None = None
    saturation: float | None = None
    affine: Tensor | None = None
    encoding: Encoding | None = None

    def __post_init__(self) -> None:
        contrasts = self.acquisition.contrasts
        if self.data.ndim < 1 or self.data.shape[0] != contrasts:
            raise ShapeError(
                f"data of shape {tuple(self.data.shape)} with {type(self.acquisition).__name__} of "
                f"{contrasts} contrasts",
                f"the first axis must hold the {contrasts} contrasts that the acquisition lists.",
                "Check that every image has its parameter (flip angle, echo time, …) and the reverse.",
            )
        if self.encoding is not None:
            self._check_samples(self.encoding)
        maps = dict(self.known) if self.mask is None else {"mask": self.mask, **self.known}
        for name, array in maps.items():
            if tuple(array.shape) != self.voxels:
                raise ShapeError(
                    f"{name} of shape {tuple(array.shape)} for images of shape {self.voxels}",
                    "every map must lie on the same voxels as the images.",
                    "Resample it to the images first.",
                )
        if self.mask is not None and not bool(self.mask.any()):
            raise DataError("a mask without a single voxel", "nothing would be estimated.", "Check the mask.")
        if not bool(torch.isfinite(self.data).any()):
            raise DataError(
                "images without a single finite value",
                "every sample is NaN or infinite.",
                "Check the conversion of the images.",
            )

    def _check_samples(self, encoding: Encoding) -> None:
        if not self.data.is_complex():
            raise DataError(
                f"real k-space of {self.data.dtype}", "k-space is complex.", "Give real and imaginary parts."
            )
        wanted = encoding.range
        if wanted is not None and tuple(self.data.shape[1:]) != wanted:
            raise ShapeError(
                f"k-space of shape {tuple(self.data.shape)} for an encoding that gives (contrast, "
                f"{', '.join(map(str, wanted))})",
                "coils and samples must be those of the encoding.",
                "Check the number of coils of the sensitivities, and the matrix.",
            )

    @property
    def voxels(self) -> tuple[int, ...]:
        """Shape of the voxel axes."""
        if self.encoding is None:
            return tuple(self.data.shape[1:])
        assert self.encoding.domain is not None
        return self.encoding.domain
