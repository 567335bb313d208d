"""½ Σ ||E_i ρ_i(v) - y_i||² and its derivatives by the unknowns, without going back to k-space."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from fastqmri.estimators.reconstruction.unknowns import Basis, Unknowns
from fastqmri.physics.encoding import LinearOperator, SubspaceGram, TemporalSubspace, subspace_gram

_PROBES = 2
_COILS_LEFT_OUT = 1e-6
"""Share of the coils' energy."""


@dataclass(frozen=True)
class DataState:
    """The data term at one point.

    Attributes:
        basis: signal and derivatives.
        residual: E^H (E ρ - y), (contrast, *voxels).
        value: the data term.
    """

    basis: Basis
    residual: Tensor
    value: float


@dataclass(frozen=True)
class ModelData:
    """E^H E and E^H y stand for the measurement: ½||Eρ - y||² = ½ρ^H E^H E ρ - Re ρ^H E^H y + ½||y||².

    In a subspace Φ of the contrasts, Φ^H ρ, Φ^H E^H E Φ and Φ^H E^H y take their place.

    Attributes:
        encoding: E.
        gram: E^H E.
        back: E^H y, (contrast or component, *voxels).
        energy: ||y||².
        density: (contrast or component) mean diagonal of E^H E: the sampled fraction, times the coils' squared sum.
        subspace: Φ, if any.
    """

    encoding: LinearOperator
    gram: LinearOperator
    back: Tensor
    energy: float
    density: Tensor
    subspace: TemporalSubspace | None = None

    @classmethod
    def of(cls, encoding: LinearOperator, data: Tensor, generator: torch.Generator) -> ModelData:
        """From an encoding and its k-space (contrast, coil, *samples)."""
        gram, back = encoding.gram, encoding.adjoint(data)
        total = torch.zeros(len(back), dtype=torch.float64)
        for _ in range(_PROBES):
            probe = torch.randn(back.shape, dtype=back.dtype, generator=generator)
            total += (probe.conj() * gram(probe)).real.double().flatten(1).sum(1)
        energy = float(data.abs().double().square().sum())
        return cls(encoding, gram, back, energy, total / _PROBES / back[0].numel())

    def within(self, directions: Tensor) -> ModelData:
        """The same of images in the span of orthonormal directions (contrast, component)."""
        subspace = TemporalSubspace(directions.to(_like(directions, self.back)), self.back.ndim - 1)
        return dataclasses.replace(
            self,
            gram=subspace_gram(self.encoding, subspace, _COILS_LEFT_OUT),
            back=subspace.adjoint(self.back),
            density=directions.abs().square().T.double() @ self.density,
            subspace=subspace,
        )

    def basis(self, unknowns: Unknowns, v: Tensor) -> Basis:
        """Signal and derivatives at v, of the components if there is a subspace."""
        basis = unknowns.basis(v)
        if self.subspace is None:
            return basis
        matrix = self.subspace.basis.mH
        if not basis.signal.is_complex() and not matrix.is_complex():
            matrix = matrix.to(basis.signal.dtype)
        signal, columns = (
            torch.tensordot(matrix, x.to(matrix.dtype), 1) for x in (basis.signal, basis.columns)
        )
        return Basis(basis.amplitude, signal, columns)

    def lost(self, images: Tensor) -> Tensor:
        """Norm (*voxels) of what images (contrast, *voxels) have outside the subspace."""
        if self.subspace is None:
            return torch.zeros_like(images[0].real)
        images = images.to(self.back.dtype)
        return (images - self.subspace(self.subspace.adjoint(images))).norm(dim=0)

    def noise(self, like: Tensor, generator: torch.Generator) -> Tensor:
        """E^H n of white n, one per real channel; ``like`` is k-space."""
        if isinstance(self.gram, SubspaceGram):
            return self.gram.noise(generator)
        white = torch.randn(like.shape, dtype=like.dtype, generator=generator) * 2**0.5
        back = self.encoding.adjoint(white)
        return back if self.subspace is None else self.subspace.adjoint(back)

    def state(self, unknowns: Unknowns, v: Tensor) -> DataState:
        """Value and image-space residual at v."""
        basis = self.basis(unknowns, v)
        images = basis.images.to(self.back.dtype)
        projected = self.gram(images)
        # sums in double precision: the terms nearly cancel where the fit is good
        products = (images.conj() * (0.5 * projected - self.back)).real.double().sum()
        return DataState(basis, projected - self.back, float(products) + 0.5 * self.energy)

    def misfit(self, state: DataState) -> Tensor:
        """Root mean square residual (*voxels), in units of one channel's noise wherever that is all there is."""
        density = self.density.to(state.residual.real).view(-1, *(1,) * (state.residual.ndim - 1))
        return (state.residual.abs().square() / (2 * density)).mean(0).sqrt()

    def gradient(self, unknowns: Unknowns, state: DataState) -> Tensor:
        """Of the data term by v."""
        return pulled_back(unknowns, state.basis, state.residual)

    def curvature(self, unknowns: Unknowns, basis: Basis, change: Tensor) -> Tensor:
        """Gauss-Newton curvature J^H E^H E J applied to a change of v."""
        return pulled_back(unknowns, basis, self.gram(pushed_forward(unknowns, basis, change)))

    def blocks(self, unknowns: Unknowns, basis: Basis) -> Tensor:
        """Each voxel's own part of the curvature, (row, row, *voxels), its aliases left out."""
        density = self.density.to(basis.signal.real).view(-1, *(1,) * (basis.signal.ndim - 1))
        scale = float(unknowns.scale[0])
        first = basis.signal / scale
        weighted = density * first.conj()
        rows = 2 + basis.columns.shape[1]
        out = torch.zeros(rows, rows, *basis.amplitude.shape, dtype=first.real.dtype)
        out[0, 0] = out[1, 1] = (weighted * first).real.sum(0)
        size = basis.amplitude.abs().square()
        for i, column in enumerate(basis.columns.unbind(1)):
            cross = (weighted * column).sum(0) * basis.amplitude
            out[0, 2 + i] = out[2 + i, 0] = cross.real
            out[1, 2 + i] = out[2 + i, 1] = cross.imag
            for j, other in enumerate(basis.columns.unbind(1)[: i + 1]):
                own = (density * (column.conj() * other).real).sum(0) * size
                out[2 + i, 2 + j] = out[2 + j, 2 + i] = own
        return out


def pushed_forward(unknowns: Unknowns, basis: Basis, change: Tensor) -> Tensor:
    """J applied to a change of v, (..., row, *voxels) -> (..., contrast, *voxels)."""
    axis = -basis.amplitude.ndim - 1
    parts = change.unbind(axis)
    scale = float(unknowns.scale[0])
    images = _times(basis.signal, torch.complex(parts[0], parts[1]).unsqueeze(axis) / scale)
    for column, part in zip(basis.columns.unbind(1), parts[2:], strict=True):
        images = images + _times(column, (basis.amplitude * part).unsqueeze(axis))
    return images


def pulled_back(unknowns: Unknowns, basis: Basis, images: Tensor) -> Tensor:
    """J^H applied to images, (..., contrast, *voxels) -> (..., row, *voxels)."""
    axis = -basis.amplitude.ndim - 1
    by_amplitude = _times(basis.signal.conj(), images).sum(axis) / float(unknowns.scale[0])
    rows = [by_amplitude.real, by_amplitude.imag]
    conjugate = basis.amplitude.conj()
    for column in basis.columns.unbind(1):
        rows.append((conjugate * _times(column.conj(), images).sum(axis)).real)
    return torch.stack(rows, axis)


def _times(signal: Tensor, images: Tensor) -> Tensor:
    """The product, without making a real signal complex."""
    if signal.is_complex():
        return signal * images
    return torch.view_as_complex(signal.unsqueeze(-1) * torch.view_as_real(images.contiguous()))


def _like(directions: Tensor, images: Tensor) -> torch.dtype:
    return images.dtype if directions.is_complex() else images.real.dtype
