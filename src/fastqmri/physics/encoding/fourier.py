"""The centred, orthonormal Fourier transform between image and k-space."""

from __future__ import annotations

import torch
from torch import Tensor

from fastqmri.physics.encoding.operator import AdjointAsBackward, Identity, LinearOperator


def _centred(transform: object, x: Tensor, axes: tuple[int, ...]) -> Tensor:
    shifted = torch.fft.ifftshift(x, axes)
    return torch.fft.fftshift(transform(shifted, dim=axes, norm="ortho"), axes)  # type: ignore[operator]


class Fourier(AdjointAsBackward):
    """k-space of an image: y_k = N^(-1/2) Σ_r x_r exp(-2πi k·r/N), r and k counted from the middle voxel N//2.

    Args:
        dimensions: how many of the last axes are transformed, 2 or 3.
    """

    def __init__(self, dimensions: int = 2) -> None:
        super().__init__()
        self.axes = tuple(range(-dimensions, 0))

    def _forward(self, x: Tensor) -> Tensor:
        return _centred(torch.fft.fftn, x, self.axes)

    def _adjoint(self, y: Tensor) -> Tensor:
        return _centred(torch.fft.ifftn, y, self.axes)

    @property
    def gram(self) -> LinearOperator:
        """The identity: the transform is unitary."""
        return Identity()
