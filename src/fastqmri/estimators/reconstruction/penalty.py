"""Penalties of a model-based reconstruction: smoothed sums of magnitudes of differences or wavelet coefficients."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fastqmri.physics.encoding import FiniteDifferences, Wavelets


@dataclass(frozen=True)
class Penalty:
    """R(v) = Σ_groups w Σ_k δ ln(1 + (sqrt(||(D v)_k||² + ε²) - ε) / δ), D differences or wavelets of every map.

    The norm runs over the rows of a group, and over the directions of the differences. Edges far above δ cost little
    more for being higher, so that they keep their height.

    Source: Vogel 1996 for the quadratic that touches R (lagged diffusivity); Candes 2008 for the logarithm.

    Attributes:
        transform: D.
        groups: rows that share their edges.
        weights: of each group.
        edge: δ; infinite for a convex R.
    """

    transform: FiniteDifferences | Wavelets
    groups: tuple[tuple[int, ...], ...]
    weights: tuple[float, ...]
    edge: float = math.inf

    def value(self, v: Tensor, smoothing: float) -> float:
        """R at v."""
        total = 0.0
        for weight, size in self._sizes(v, smoothing):
            height = size - smoothing
            if self.edge < math.inf:
                height = self.edge * torch.log1p(height / self.edge)
            total += weight * float((self._counted(size) * height).double().sum())
        return total

    def stiffness(self, v: Tensor, smoothing: float) -> list[Tensor]:
        """Weights (...) of each group's squares in the quadratic that touches R at v from above."""
        return [
            weight * self._counted(size) / (size * (1 + (size - smoothing) / self.edge))
            for weight, size in self._sizes(v, smoothing)
        ]

    def apply(self, stiffness: list[Tensor], v: Tensor) -> Tensor:
        """D^T W D v; at the point of the stiffness this is the gradient. Leading axes are free."""
        axis = -self._voxel_axes - 1
        out = torch.empty_like(v)
        for group, weight in zip(self.groups, stiffness, strict=True):
            for row in group:
                image = self.transform.adjoint(weight * self.transform(v.select(axis, row)))
                out.select(axis, row).copy_(image)
        return out

    def diagonal(self, stiffness: list[Tensor], like: Tensor) -> Tensor:
        """Diagonal of D^T W D, (row, *voxels); of wavelets its mean."""
        out = torch.empty_like(like)
        board = _checkerboard(like[0])
        for group, weight in zip(self.groups, stiffness, strict=True):
            if isinstance(self.transform, FiniteDifferences):
                # neighbours have the opposite sign, so that each difference counts twice
                own = 0.5 * board * self.transform.adjoint(weight * self.transform(board))
            else:
                own = weight.mean().expand(like[0].shape)
            for row in group:
                out[row] = own
        return out

    def draw(self, stiffness: list[Tensor], like: Tensor, generator: torch.Generator) -> Tensor:
        """A random v of covariance D^T W D."""
        out = torch.empty_like(like)
        for group, weight in zip(self.groups, stiffness, strict=True):
            for row in group:
                shape = self.transform(like[row]).shape
                white = torch.randn(shape, dtype=like.dtype, generator=generator)
                out[row] = self.transform.adjoint(weight.sqrt() * white)
        return out

    @property
    def _voxel_axes(self) -> int:
        return len(self.transform.axes)

    def _counted(self, like: Tensor) -> Tensor:
        """One for what is penalised; the coarse approximation of wavelets is not sparse, and goes free."""
        counted = torch.ones_like(like)
        if isinstance(self.transform, Wavelets):
            counted[tuple(slice(side) for side in self.transform.coarse)] = 0
        return counted

    def _sizes(self, v: Tensor, smoothing: float) -> list[tuple[float, Tensor]]:
        sizes = []
        for group, weight in zip(self.groups, self.weights, strict=True):
            coefficients = self.transform(v[list(group)])
            squares = coefficients.square().sum(0)
            if isinstance(self.transform, FiniteDifferences):
                squares = squares.sum(0)
            sizes.append((weight, (squares + smoothing**2).sqrt()))
        return sizes


def _checkerboard(like: Tensor) -> Tensor:
    total = torch.zeros_like(like)
    for axis, side in enumerate(like.shape):
        total += torch.arange(side, dtype=like.dtype).view(-1, *(1,) * (like.ndim - axis - 1))
    return 1 - 2 * (total % 2)
