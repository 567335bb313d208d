"""Contrasts that are combinations of few temporal components."""

from __future__ import annotations

import torch
from torch import Tensor

from fastqmri.core import ShapeError
from fastqmri.physics.encoding.operator import LinearOperator


class TemporalSubspace(LinearOperator):
    """Contrast images of coefficient images: (..., component, *voxels) -> (..., contrast, *voxels).

    Args:
        basis: (contrast, component), real or complex.
        dimensions: number of axes behind the contrasts.

    Raises:
        ShapeError: another number of components or contrasts.
    """

    def __init__(self, basis: Tensor, dimensions: int) -> None:
        super().__init__()
        self.register_buffer("basis", basis)
        self.axis = -dimensions - 1

    basis: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Contrast images of coefficients."""
        return self._mixed(self.basis, x, "coefficient images")

    def adjoint(self, y: Tensor) -> Tensor:
        """Coefficients of contrast images: the projection itself where the basis is orthonormal."""
        return self._mixed(self.basis.mH, y, "contrast images")

    @property
    def gram(self) -> LinearOperator:
        """The components' inner products."""
        return TemporalSubspace(self.basis.mH @ self.basis, -self.axis - 1)

    def _mixed(self, matrix: Tensor, x: Tensor, what: str) -> Tensor:
        if x.ndim < -self.axis or x.shape[self.axis] != matrix.shape[1]:
            raise ShapeError(
                f"{what} of {tuple(x.shape)} for a basis of {tuple(self.basis.shape)} (contrast, component)",
                f"{matrix.shape[1]} of them are wanted {-self.axis} axes from the end.",
                "Check the order of the axes, and that the basis belongs to this acquisition.",
            )
        return torch.tensordot(x, matrix.to(x.dtype), dims=([self.axis], [1])).movedim(-1, self.axis)
