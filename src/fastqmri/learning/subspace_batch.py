"""k-space of several slices as a network sees it: in the span of a model's signals, and in image space."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fastqmri.core import Measurement
from fastqmri.estimators.reconstruction.images import encoding_of
from fastqmri.estimators.reconstruction.model_data import ModelData
from fastqmri.physics.encoding import CartesianEncoding, Fourier, LinearOperator
from fastqmri.physics.encoding.operator import AdjointAsBackward
from fastqmri.solvers.conjugate_gradient import conjugate_gradient


@dataclass(frozen=True)
class SubspaceBatch:
    """Φ^H E^H E Φ and Φ^H E^H y of several slices with directions Φ of their contrasts.

    Attributes:
        gram: (component, slice, *voxels) -> the same.
        back: Φ^H E^H y, (component, slice, *voxels) complex.
        density: (component, slice) mean diagonal of the Gram operator.
        noise: (slice,) standard deviation of one real channel of k-space.
    """

    gram: LinearOperator
    back: Tensor
    density: Tensor
    noise: Tensor

    @classmethod
    def of(cls, measurements: Sequence[Measurement], basis: Tensor, noise: Sequence[float]) -> SubspaceBatch:
        """From measurements of one matrix with any encodings; Cartesian ones with as many coils go together.

        Args:
            measurements: one for each slice, with encodings.
            basis: Φ, (contrast, component), orthonormal columns.
            noise: standard deviation of one real channel of each one's k-space.
        """
        encodings = [encoding_of(m) for m in measurements]
        level = torch.tensor(noise)
        together = [
            e
            for e in encodings
            if isinstance(e, CartesianEncoding) and e.sensitivities.ndim == len(e.domain or ()) + 1
        ]
        if len(together) == len(encodings) and len({e.sensitivities.shape for e in together}) == 1:
            voxels = together[0].domain or ()
            masks = [e.mask.expand(len(basis), *voxels) for e in together]
            return cls.cartesian(
                torch.stack([m.data for m in measurements]),
                torch.stack([e.sensitivities for e in together]),
                torch.stack(masks),
                basis,
                level,
            )
        generator = torch.Generator().manual_seed(0)
        parts = [
            ModelData.of(e, m.data, generator).within(basis)
            for e, m in zip(encodings, measurements, strict=True)
        ]
        back = torch.stack([p.back for p in parts], 1).to(measurements[0].data.dtype)
        density = torch.stack([p.density for p in parts], 1).to(back.real.dtype)
        return cls(SliceBySlice([p.gram for p in parts]), back, density, level.to(back.real.dtype))

    @classmethod
    def cartesian(
        cls, samples: Tensor, sensitivities: Tensor, masks: Tensor, basis: Tensor, noise: Tensor
    ) -> SubspaceBatch:
        """From Cartesian k-space of several slices.

        Args:
            samples: (slice, contrast, coil, *voxels), zero where nothing was measured.
            sensitivities: (slice, coil, *voxels).
            masks: (slice, contrast, *voxels) bool.
            basis: Φ, (contrast, component).
            noise: (slice,).
        """
        dimensions = masks.ndim - 2
        count, contrasts, coils = samples.shape[:3]
        shape = samples.shape[3:]
        matrix = basis.mH.to(samples.dtype if basis.is_complex() else samples.real.dtype)
        if matrix.is_complex():
            mixed = matrix @ samples.reshape(count, contrasts, -1)
        else:
            pairs = torch.view_as_real(samples.contiguous()).reshape(count, contrasts, -1)
            mixed = torch.view_as_complex((matrix @ pairs).view(count, len(matrix), -1, 2))
        mixed = mixed.view(count, len(matrix), coils, *shape)
        images = Fourier(dimensions).adjoint(mixed) * sensitivities.conj()[:, None]
        weights = basis.abs().square().T.to(samples.real.dtype)
        energy = sensitivities.abs().square().sum(1).flatten(1).mean(1)
        density = (weights @ masks.flatten(2).to(weights).mean(2).T) * energy
        return cls(
            CartesianGrams(sensitivities, masks, basis),
            images.sum(2).movedim(0, 1).contiguous(),
            density,
            noise.to(samples.real.dtype),
        )

    @property
    def single_axis(self) -> int | None:
        """The one voxel axis of a Cartesian plane whose samples differ, if it is one."""
        axes = self.gram.axes if isinstance(self.gram, CartesianGrams) else ()
        return axes[0] + self.back.ndim - 2 if len(axes) == 1 and self.back.ndim == 4 else None

    def transposed(self) -> SubspaceBatch:
        """Planes with their two axes exchanged."""
        assert isinstance(self.gram, CartesianGrams)
        return dataclasses.replace(self, gram=self.gram.transposed(), back=self.back.mT.contiguous())

    def turned(self, phase: Tensor, scale: Tensor) -> SubspaceBatch:
        """The same of images without a phase and in other units.

        Args:
            phase: (slice, *voxels) of unit modulus, taken from the images and given to E.
            scale: (slice,) unit of the images, in those of k-space.
        """
        unit = scale.view(-1, *(1,) * (self.back.ndim - 2))
        gram = self.gram.turned(phase) if isinstance(self.gram, CartesianGrams) else Turned(self.gram, phase)
        return dataclasses.replace(
            self, gram=gram, back=self.back * (phase.conj() / unit), noise=self.noise / scale
        )

    def images(self, shares: Tensor, iterations: int) -> Tensor:
        """Component images after a few damped conjugate gradient steps, (component, slice, *voxels).

        Args:
            shares: (component,) of the signal's energy that the prior expects.
            iterations: number of steps; zero gives E^H y over the density.
        """
        trailing = (1,) * (self.back.ndim - 2)
        density = self.density.mean(0).view(1, -1, *trailing)
        if not iterations:
            return self.back / density
        energy = (self.back.real**2 + self.back.imag**2).flatten(2).sum((0, 2)) / self.back[0, 0].numel()
        energy = energy / self.density.mean(0).square()
        variance = self.noise.square()
        ratio = variance / torch.maximum(energy, variance)
        damping = (ratio / shares.to(ratio)[:, None]).clamp_max(1.0).view(len(shares), -1, *trailing)

        def system(x: Tensor) -> Tensor:
            return self.gram(x.movedim(0, 1)).movedim(1, 0) + damping.movedim(0, 1) * x

        found = conjugate_gradient(
            system,
            self.back.movedim(0, 1),
            iterations=iterations,
            preconditioner=lambda x: x / (density + damping).movedim(0, 1),
            dimensions=self.back.ndim - 1,
        )
        return found.movedim(0, 1)


class CartesianGrams(AdjointAsBackward):
    """Φ^H E^H E Φ of Cartesian slices, transformed along those axes only that their masks tell apart.

    Source: Tamir 2017 for the kernel.

    Args:
        sensitivities: (slice, coil, *voxels).
        masks: (slice, contrast, *voxels) bool.
        basis: Φ, (contrast, component).
    """

    def __init__(self, sensitivities: Tensor, masks: Tensor, basis: Tensor) -> None:
        super().__init__()
        dimensions = masks.ndim - 2
        varies = [bool((masks != masks.narrow(a, 0, 1)).any()) for a in range(2, masks.ndim)]
        self.axes = tuple(a - dimensions for a in range(dimensions) if varies[a])
        for axis in range(dimensions):
            if not varies[axis]:
                masks = masks.narrow(2 + axis, 0, 1)
        masks = torch.fft.ifftshift(masks, self.axes) if self.axes else masks
        real = sensitivities.real.dtype
        basis = basis.to(sensitivities.dtype if basis.is_complex() else real)
        products = basis.conj()[:, :, None] * basis[:, None, :]
        flat = masks.flatten(2).transpose(0, 1).flatten(1).to(products.dtype)
        kernel = (products.flatten(1).T @ flat).view(
            basis.shape[1], basis.shape[1], len(masks), 1, *masks.shape[2:]
        )
        if not kernel.is_complex():
            # one factor for each of the two real numbers of a sample, so that rows stay contiguous
            kernel = torch.stack([kernel, kernel], -1)
        self.register_buffer("kernel", kernel)
        self.register_buffer("maps", sensitivities)
        self.domain = self.range = (basis.shape[1], *sensitivities.shape[:1], *sensitivities.shape[2:])

    kernel: Tensor
    maps: Tensor

    def turned(self, phase: Tensor) -> CartesianGrams:
        """The same with coil maps times a phase (slice, *voxels)."""
        return self._with(self.kernel, self.maps * phase[:, None], self.axes)

    def transposed(self) -> CartesianGrams:
        """The same of planes with their two axes exchanged."""
        last = -1 if self.kernel.is_complex() else -2
        kernel = self.kernel.transpose(last, last - 1).contiguous()
        return self._with(kernel, self.maps.mT.contiguous(), tuple(sorted(-3 - a for a in self.axes)))

    def _with(self, kernel: Tensor, maps: Tensor, axes: tuple[int, ...]) -> CartesianGrams:
        other = CartesianGrams.__new__(CartesianGrams)
        AdjointAsBackward.__init__(other)
        other.axes = axes
        other.domain = other.range = (len(kernel), len(maps), *maps.shape[2:])
        other.register_buffer("kernel", kernel)
        other.register_buffer("maps", maps)
        return other

    def _forward(self, x: Tensor) -> Tensor:
        seen = x.unsqueeze(-self.maps.ndim + 1) * self.maps
        if self.axes:
            seen = torch.fft.fftn(seen, dim=self.axes)
        seen = self._mixed(seen)
        if self.axes:
            seen = torch.fft.ifftn(seen, dim=self.axes)
        return (seen * self.maps.conj()).sum(-self.maps.ndim + 1)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._forward(y)

    def _mixed(self, samples: Tensor) -> Tensor:
        """Every sample's matrix times its components."""
        axis = -self.maps.ndim - 1
        if self.kernel.is_complex():
            return (self.kernel * samples.unsqueeze(axis - 1)).sum(axis)
        parts = torch.view_as_real(samples).unbind(axis - 1)
        rows = []
        for row in self.kernel:
            total = row[0] * parts[0]
            for factor, part in zip(row[1:], parts[1:], strict=True):
                total = torch.addcmul(total, factor, part)
            rows.append(total)
        return torch.view_as_complex(torch.stack(rows, axis - 1))


class SliceBySlice(LinearOperator):
    """Operators on (component, *voxels), one for each slice, on (component, slice, *voxels)."""

    def __init__(self, operators: Sequence[LinearOperator]) -> None:
        super().__init__()
        self.operators = torch.nn.ModuleList(operators)

    def forward(self, x: Tensor) -> Tensor:
        """(component, slice, *voxels) -> the same."""
        parts = zip(self.operators, x.unbind(1), strict=True)
        return torch.stack([operator(part) for operator, part in parts], 1).to(x.dtype)

    def adjoint(self, y: Tensor) -> Tensor:
        """The adjoints."""
        parts = zip(self.operators, y.unbind(1), strict=True)
        return torch.stack([operator.adjoint(part) for operator, part in parts], 1)  # type: ignore[operator]


class Turned(LinearOperator):
    """A Gram operator of images that lost a phase: its conjugate, the operator, the phase."""

    def __init__(self, of: LinearOperator, phase: Tensor) -> None:
        super().__init__()
        self.of = of
        self.register_buffer("phase", phase)

    phase: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """(component, slice, *voxels) -> the same."""
        return self.phase.conj() * self.of(self.phase * x)

    def adjoint(self, y: Tensor) -> Tensor:
        """The adjoint."""
        return self.phase.conj() * self.of.adjoint(self.phase * y)
