"""What was measured (y of the equation)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fastqmri.core.acquisition import Acquisition
from fastqmri.core.errors import DataError, ShapeError


@dataclass(frozen=True)
class Measurement:
    """Contrast images, the acquisition that made them, and what else is known of the voxels.

    Attributes:
        data: (contrast, *voxels), real (magnitude or signed) or complex.
        acquisition: what the scanner was told.
        mask: (*voxels) bool; voxels outside are not estimated. None takes all.
        known: parameter name -> (*voxels) map of a quantity measured elsewhere (``B1``, fraction of nominal).
        noise: standard deviation of the noise of one (real) channel, in units of the data; None lets the
            estimator find it.
        saturation: value at and above which samples are clipped; None lets the estimator find it,
            infinity says that nothing is clipped.
        affine: (4, 4) voxel to world in mm, or None.

    Raises:
        ShapeError: contrasts, mask or maps that do not match.
        DataError: an empty mask, or data without a single finite value.
    """

    data: Tensor
    acquisition: Acquisition
    mask: Tensor | None = None
    known: Mapping[str, Tensor] = field(default_factory=dict)
    noise: float | None = None
    saturation: float | None = None
    affine: Tensor | None = None

    def __post_init__(self) -> None:
        contrasts = self.acquisition.contrasts
        if self.data.ndim < 1 or self.data.shape[0] != contrasts:
            raise ShapeError(
                f"data of shape {tuple(self.data.shape)} with {type(self.acquisition).__name__} of "
                f"{contrasts} contrasts",
                f"the first axis must hold the {contrasts} contrasts that the acquisition lists.",
                "Check that every image has its parameter (flip angle, echo time, …) and the reverse.",
            )
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

    @property
    def voxels(self) -> tuple[int, ...]:
        """Shape of the voxel axes."""
        return tuple(self.data.shape[1:])
