"""Transforms in which images are sparse: finite differences and orthogonal wavelets."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastqmri.core import PlausibilityError, ShapeError
from fastqmri.physics.encoding.operator import AdjointAsBackward, Identity, LinearOperator


class FiniteDifferences(LinearOperator):
    """Forward differences along every voxel axis: (..., *voxels) -> (..., axis, *voxels).

    Neumann boundary: the difference beyond the last voxel is zero, so that opposite edges do not see each other. The
    norm is below 2 sqrt(dimensions).

    Args:
        dimensions: number of voxel axes.
    """

    def __init__(self, dimensions: int = 2) -> None:
        super().__init__()
        self.axes = tuple(range(-dimensions, 0))

    @property
    def norm(self) -> float:
        """An upper bound of the largest singular value."""
        return 2 * len(self.axes) ** 0.5

    def forward(self, x: Tensor) -> Tensor:
        """Differences (..., axis, *voxels) of ``x`` (..., *voxels)."""
        return torch.stack([_difference(x, axis) for axis in self.axes], self.axes[0] - 1)

    def adjoint(self, y: Tensor) -> Tensor:
        """Negative divergence (..., *voxels) of ``y`` (..., axis, *voxels)."""
        parts = y.unbind(self.axes[0] - 1)
        return sum(_difference_adjoint(part, axis) for part, axis in zip(parts, self.axes, strict=True))  # type: ignore[return-value]


def _difference(x: Tensor, axis: int) -> Tensor:
    inside = x.narrow(axis, 1, x.shape[axis] - 1) - x.narrow(axis, 0, x.shape[axis] - 1)
    return torch.cat([inside, torch.zeros_like(x.narrow(axis, 0, 1))], axis)


def _difference_adjoint(y: Tensor, axis: int) -> Tensor:
    inside = y.narrow(axis, 0, y.shape[axis] - 1)
    edge = torch.zeros_like(y.narrow(axis, 0, 1))
    return torch.cat([edge, inside], axis) - torch.cat([inside, edge], axis)


class Wavelets(AdjointAsBackward):
    """Orthogonal wavelet transform, periodic: (..., *voxels) -> (..., *padded).

    Sides are padded with zeros to a multiple of 2^levels. Coefficients lie packed as in a pyramid: the coarsest
    approximation first, then the details from coarse to fine. An isometry: the adjoint undoes it, and the Gram operator
    is the identity.

    Args:
        voxels: sides of the image.
        wavelet: name that PyWavelets knows, of an orthogonal wavelet.
        levels: scales; as many as leave 8 coefficients along the shortest side (1 at least), at most 4, if None.

    Raises:
        PlausibilityError: a wavelet that is not orthogonal, or not known.
        ShapeError: images of other sides.
    """

    domain: tuple[int, ...]
    range: tuple[int, ...]

    def __init__(self, voxels: tuple[int, ...], wavelet: str = "db4", levels: int | None = None) -> None:
        super().__init__()
        import pywt

        if wavelet not in pywt.wavelist(kind="discrete") or not pywt.Wavelet(wavelet).orthogonal:
            raise PlausibilityError(
                f"wavelet {wavelet!r}",
                "it is not an orthogonal wavelet that PyWavelets knows.",
                "Take haar, db2 to db38, sym2 to sym20 or coif1 to coif17.",
            )
        self.wavelet = wavelet
        self.levels = max(1, min(4, (min(voxels) // 8).bit_length() - 1)) if levels is None else levels
        unit = 2**self.levels
        self.domain = tuple(voxels)
        self.range = tuple(-(-side // unit) * unit for side in voxels)
        self.axes = tuple(range(-len(voxels), 0))
        self._inside: Any = (..., *(slice(side) for side in voxels))

    @property
    def gram(self) -> LinearOperator:
        """The identity: zero padding and the transform are isometries."""
        return Identity()

    @property
    def coarse(self) -> tuple[int, ...]:
        """Sides of the packed approximation, whose coefficients come first along every axis."""
        return tuple(side // 2**self.levels for side in self.range)

    def _forward(self, x: Tensor) -> Tensor:
        self._check(x, self.domain, "images")
        import numpy as np
        import pywt

        out = torch.zeros((*x.shape[: -len(self.axes)], *self.range), dtype=x.dtype)
        out[self._inside] = x.detach()
        packed = out.numpy()
        for level in range(self.levels):
            corner = self._corner(level)
            block = packed[corner]
            for axis in self.axes:
                block = np.concatenate(pywt.dwt(block, self.wavelet, "periodization", axis=axis), axis)
            packed[corner] = block
        return out.to(x.device)

    def _adjoint(self, y: Tensor) -> Tensor:
        self._check(y, self.range, "coefficients")
        import numpy as np
        import pywt

        out = y.detach().to("cpu", copy=True)
        packed = out.numpy()
        for level in reversed(range(self.levels)):
            corner = self._corner(level)
            block = packed[corner]
            for axis in self.axes:
                block = pywt.idwt(*np.split(block, 2, axis), self.wavelet, "periodization", axis=axis)
            packed[corner] = block
        return out[self._inside].to(y.device)

    def _corner(self, level: int) -> tuple[Any, ...]:
        """Where the approximation of a level lies."""
        return (..., *(slice(side >> level) for side in self.range))

    def _check(self, x: Tensor, sides: tuple[int, ...], what: str) -> None:
        if tuple(x.shape[-len(sides) :]) != sides:
            raise ShapeError(
                f"{what} of {tuple(x.shape)} for a wavelet transform of {self.domain}",
                f"the last axes must be {sides}.",
                "Build the transform for the images' own matrix.",
            )
