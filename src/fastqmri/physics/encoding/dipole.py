"""The field that susceptibility makes: unit dipoles in k-space, for any direction of B0 and any voxel size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from fastqmri.core import PlausibilityError, ShapeError
from fastqmri.physics.encoding.operator import AdjointAsBackward, Identity, LinearOperator, stack

Vector = tuple[float, float, float]

COMPONENTS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
"""Axes of the six components of a symmetric tensor, in their order."""

_AXES = (-3, -2, -1)


def unit_direction(direction: Sequence[float]) -> Vector:
    """A direction of length one.

    Raises:
        PlausibilityError: not three finite numbers, or all zero.
    """
    length = math.sqrt(sum(float(part) ** 2 for part in direction))
    if len(direction) != 3 or not math.isfinite(length) or length == 0:
        raise PlausibilityError(
            f"a B0 direction of {tuple(direction)}",
            "it is a vector along three voxel axes.",
            "Give three numbers, such as (0, 0, 1) for B0 along the third axis.",
        )
    x, y, z = (float(part) / length for part in direction)
    return x, y, z


def dipole_kernel(
    voxels: tuple[int, ...],
    voxel_size: Sequence[float],
    direction: Sequence[float] = (0, 0, 1),
    *,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """D(k) = 1/3 - (k·b)²/k² on the k-space of a real FFT, D(0) = 0: (side, side, side // 2 + 1).

    At the highest frequency of an even side, where k and -k are one sample, the mean over both signs is taken: without
    it the field of an oblique B0 would not be real.

    Source: Salomir 2003; Marques 2005.

    Args:
        voxels: matrix.
        voxel_size: mm along each axis.
        direction: of B0 along the voxel axes, of any length.
        dtype: of the result.
    """
    b = unit_direction(direction)
    k, cross = _frequencies(voxels, voxel_size, dtype)
    along = sum(part * axis for part, axis in zip(b, cross, strict=True) if part)
    along = along * along if isinstance(along, Tensor) else torch.zeros((), dtype=dtype)
    for part, axis, other in zip(b, k, cross, strict=True):
        edge = axis * axis - other * other
        if part and bool(edge.any()):
            along = along + part**2 * edge
    kernel = along / _squared(k)
    kernel = torch.sub(1 / 3, kernel.expand(voxels[0], voxels[1], voxels[2] // 2 + 1))
    kernel[0, 0, 0] = 0
    return kernel


def tensor_kernels(
    voxels: tuple[int, ...],
    voxel_size: Sequence[float],
    direction: Sequence[float] = (0, 0, 1),
    *,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """What each of the six tensor components adds to the field along B0: (6, side, side, side // 2 + 1).

    F[δ] = b·χb/3 - (k·b)(k·χb)/k², with the factor two of the components that stand twice in the tensor.

    Source: Liu 2010.

    Args:
        voxels: matrix.
        voxel_size: mm along each axis.
        direction: of B0 along the voxel axes, of any length.
        dtype: of the result.
    """
    b = unit_direction(direction)
    k, cross = _frequencies(voxels, voxel_size, dtype)
    squared = _squared(k)

    def product(a: int, c: int) -> Tensor:
        return (k[a] * k[a] if a == c else cross[a] * cross[c]) / squared

    along = [b[0] * product(a, 0) + b[1] * product(a, 1) + b[2] * product(a, 2) for a in range(3)]
    kernels = torch.stack(
        [
            b[a] ** 2 / 3 - b[a] * along[a]
            if a == c
            else 2 * b[a] * b[c] / 3 - b[c] * along[a] - b[a] * along[c]
            for a, c in COMPONENTS
        ]
    )
    kernels[:, 0, 0, 0] = 0
    return kernels


class Dipole(AdjointAsBackward):
    """Field [ppm of B0] of susceptibility [ppm]: δ = F^-1 D F χ, (..., *voxels) -> (..., *voxels).

    With several directions of B0 it gives the field of each, (..., direction, *voxels). The field is that which protons
    see: with the Lorentz sphere's third, without the mean over the (padded) field of view.

    Source: Salomir 2003; Marques 2005.

    Args:
        voxels: matrix, three sides.
        voxel_size: mm along each axis.
        direction: of B0 along the voxel axes, (3,), or several, (direction, 3).
        padding: sides of the matrix the convolution is done in, as multiples of the own; 1 lets the field leave at one
            side and enter at the other, 2 keeps it from that.
        dtype: of the kernel, float32 or float64.

    Raises:
        ShapeError: other than three sides.
        PlausibilityError: an impossible voxel size, direction or padding.
    """

    def __init__(
        self,
        voxels: tuple[int, ...],
        voxel_size: Sequence[float],
        direction: Sequence[float] | Sequence[Sequence[float]] | Tensor = (0.0, 0.0, 1.0),
        *,
        padding: float = 1.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.sides = padded(voxels, padding)
        self.several, self.directions = _directions(direction)
        kernels = [dipole_kernel(self.sides, voxel_size, one, dtype=dtype) for one in self.directions]
        self.register_buffer("kernel", torch.stack(kernels) if self.several else kernels[0])
        self.domain = tuple(voxels)
        self.range = (len(kernels), *voxels) if self.several else self.domain

    kernel: Tensor

    def _forward(self, x: Tensor) -> Tensor:
        assert self.domain is not None
        _check_voxels(x, self.domain, 3)
        spectrum = torch.fft.rfftn(x, s=self.sides, dim=_AXES)
        if self.several:
            spectrum = spectrum.unsqueeze(-4)
        return _back(spectrum * self.kernel.to(x.dtype), self.sides, self.domain)

    def _adjoint(self, y: Tensor) -> Tensor:
        assert self.domain is not None
        assert self.range is not None
        _check_voxels(y, self.range, len(self.range))
        spectrum = torch.fft.rfftn(y, s=self.sides, dim=_AXES) * self.kernel.to(y.dtype)
        if self.several:
            spectrum = spectrum.sum(-4)
        return _back(spectrum, self.sides, self.domain)

    @property
    def H(self) -> LinearOperator:
        """Itself for one direction: the field of dipoles is symmetric."""
        return super().H if self.several else self

    @property
    def gram(self) -> LinearOperator:
        """D² in one filter, the directions added; with padding, which crops between, one after the other."""
        if self.sides != self.domain:
            return super().gram
        squared = self.kernel * self.kernel
        return _Filter(squared.sum(0) if self.several else squared, self.sides)


class SusceptibilityTensor(AdjointAsBackward):
    """Field [ppm of B0] along B0 of a susceptibility tensor [ppm]: (..., 6, *voxels) -> (..., *voxels).

    Components in the order of `COMPONENTS` (11, 12, 13, 22, 23, 33) along the voxel axes. With several directions of B0
    (..., direction, *voxels).

    Source: Liu 2010.

    Args:
        voxels: matrix, three sides.
        voxel_size: mm along each axis.
        direction: of B0 along the voxel axes, (3,), or several, (direction, 3).
        padding: see `Dipole`.
        dtype: of the kernels, float32 or float64.

    Raises:
        ShapeError: other than three sides.
        PlausibilityError: an impossible voxel size, direction or padding.
    """

    def __init__(
        self,
        voxels: tuple[int, ...],
        voxel_size: Sequence[float],
        direction: Sequence[float] | Sequence[Sequence[float]] | Tensor = (0.0, 0.0, 1.0),
        *,
        padding: float = 1.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.sides = padded(voxels, padding)
        self.several, directions = _directions(direction)
        kernels = [tensor_kernels(self.sides, voxel_size, one, dtype=dtype) for one in directions]
        self.register_buffer("kernels", torch.stack(kernels) if self.several else kernels[0])
        self.voxels = tuple(voxels)
        self.domain = (len(COMPONENTS), *voxels)
        self.range = (len(kernels), *voxels) if self.several else self.voxels

    kernels: Tensor

    def _forward(self, x: Tensor) -> Tensor:
        assert self.domain is not None
        _check_voxels(x, self.domain, 4)
        spectrum = torch.fft.rfftn(x, s=self.sides, dim=_AXES)
        if self.several:
            spectrum = spectrum.unsqueeze(-5)
        return _back((spectrum * self.kernels.to(x.dtype)).sum(-4), self.sides, self.voxels)

    def _adjoint(self, y: Tensor) -> Tensor:
        assert self.range is not None
        _check_voxels(y, self.range, len(self.range))
        spectrum = torch.fft.rfftn(y, s=self.sides, dim=_AXES).unsqueeze(-4) * self.kernels.to(y.dtype)
        if self.several:
            spectrum = spectrum.sum(-5)
        return _back(spectrum, self.sides, self.voxels)


def dipole_and_rest(dipole: Dipole) -> LinearOperator:
    """The field of (χ33, rest): F^-1 D F χ33 + rest, (..., 2, *voxels) -> (..., *voxels).

    The rest is the field of the tensor's off-diagonal components, in ppm.

    Source: Feng 2021 (MoDL-QSM), eq. 14.

    Args:
        dipole: of one direction.
    """
    return stack(dipole, Identity(), axis=4).H


def padded(voxels: Sequence[int], padding: float) -> tuple[int, int, int]:
    """Sides of the matrix a field is computed in.

    Raises:
        ShapeError: other than three sides.
        PlausibilityError: a padding that would crop.
    """
    if len(voxels) != 3:
        raise ShapeError(
            f"a matrix of {tuple(voxels)} for the field of dipoles",
            "that field is three-dimensional.",
            "Give a volume; one slice has a third side of 1.",
        )
    if not 1 <= padding <= 8:
        raise PlausibilityError(
            f"padding by {padding:g}",
            "it multiplies the sides of the matrix.",
            "Give 1 (none) to 2 (no wrap).",
        )
    x, y, z = (math.ceil(side * padding - 1e-9) for side in voxels)
    return x, y, z


class _Filter(AdjointAsBackward):
    """A real, even filter in k-space."""

    def __init__(self, kernel: Tensor, sides: tuple[int, int, int]) -> None:
        super().__init__()
        self.register_buffer("kernel", kernel)
        self.domain = self.range = sides

    kernel: Tensor

    def _forward(self, x: Tensor) -> Tensor:
        assert self.domain is not None
        spectrum = torch.fft.rfftn(x, dim=_AXES)
        return torch.fft.irfftn(spectrum * self.kernel.to(x.dtype), s=self.domain, dim=_AXES)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._forward(y)

    @property
    def H(self) -> LinearOperator:
        """Itself."""
        return self


def _directions(
    given: Sequence[float] | Sequence[Sequence[float]] | Tensor,
) -> tuple[bool, tuple[Vector, ...]]:
    """Whether there may be several, and all of them."""
    rows = torch.as_tensor(given, dtype=torch.float64)
    return rows.ndim == 2, tuple(unit_direction(one) for one in rows.reshape(-1, rows.shape[-1]).tolist())


def _back(spectrum: Tensor, sides: tuple[int, int, int], voxels: tuple[int, ...]) -> Tensor:
    x, y, z = voxels
    return torch.fft.irfftn(spectrum, s=sides, dim=_AXES)[..., :x, :y, :z]


def _frequencies(
    voxels: Sequence[int], voxel_size: Sequence[float], dtype: torch.dtype
) -> tuple[list[Tensor], list[Tensor]]:
    """k in 1/mm along each axis, and the same with zero where an even side has its highest frequency."""
    if len(voxel_size) != 3 or not all(math.isfinite(size) and size > 0 for size in voxel_size):
        raise PlausibilityError(
            f"a voxel size of {tuple(voxel_size)}", "three lengths in mm are needed.", "Give (1.0, 1.0, 2.0)."
        )
    k, cross = [], []
    for axis, (side, size) in enumerate(zip(voxels, voxel_size, strict=True)):
        frequencies = torch.fft.rfftfreq if axis == 2 else torch.fft.fftfreq
        line = frequencies(side, d=float(size), dtype=torch.float64)
        inner = line.clone()
        if side % 2 == 0:
            inner[side // 2] = 0
        shape = [1, 1, 1]
        shape[axis] = -1
        k.append(line.to(dtype).view(shape))
        cross.append(inner.to(dtype).view(shape))
    return k, cross


def _squared(k: list[Tensor]) -> Tensor:
    squared = k[0] * k[0] + k[1] * k[1] + k[2] * k[2]
    squared[0, 0, 0] = 1
    return squared


def _check_voxels(x: Tensor, wanted: tuple[int, ...], axes: int) -> None:
    if tuple(x.shape[-axes:]) != wanted:
        raise ShapeError(
            f"a tensor of {tuple(x.shape)} for a field operator of {wanted}",
            "its last axes must be those.",
            "Build the operator for this matrix and these directions.",
        )
