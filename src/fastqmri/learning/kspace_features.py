"""What a network that maps k-space sees: images in the model's subspace, their classical fit, zero-filled images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from fastqmri.core import PlausibilityError
from fastqmri.estimators.reconstruction.subspace import simulated_curves
from fastqmri.estimators.reconstruction.warm_start import fitted
from fastqmri.learning.simulation import Scans
from fastqmri.physics.signal import SignalModel
from fastqmri.solvers.conjugate_gradient import conjugate_gradient
from fastqmri.solvers.subspace import principal

_RANK = 3
_CORNER = 2.5
"""Of the images' spectra, in samples: power falls as (1 + |k|²/k0²)^-2; ours, after phantoms of the tuning part."""
_TRUST = 0.002
"""Share of the expected energy that is taken for granted: the smaller, the smoother the images."""
_MOST_DAMPED = 10.0
_FAINT = 1e-6


@final
@dataclass(frozen=True)
class Features:
    """What the network takes, and what its output corrects.

    Attributes:
        channels: (slice, channel, *voxels).
        amplitude: (slice, *voxels) of the classical fit, in units of ``scale``.
        value: (slice, *voxels) of its second parameter.
        phase: (slice, *voxels) of unit modulus; the amplitude's is relative to it.
        scale: (slice,) unit of the images.
        noise: (slice,) in that unit.
    """

    channels: Tensor
    amplitude: Tensor
    value: Tensor
    phase: Tensor
    scale: Tensor
    noise: Tensor


@final
class FeatureMaker:
    """Makes features of scans.

    Few conjugate gradient steps for Σ_i ||E_i Φ_i c - y_i||² + a penalty on the spectra of the components c (the
    best linear estimate if their spectra are as assumed), then the voxel-wise fit of these images and of the
    zero-filled ones. All phases are taken relative to the main component's, so that those of object and coils do not
    matter.

    Args:
        model: A: an amplitude, one other estimated parameter, and known ones.
        limits: of the second parameter.
        iterations: conjugate gradient steps.

    Raises:
        PlausibilityError: a model with other parameters.
    """

    def __init__(self, model: SignalModel, limits: tuple[float, float], iterations: int = 6) -> None:
        if model.complex_valued or len(model.estimated) != 2:
            raise PlausibilityError(
                f"{type(model).__name__}",
                "features need an amplitude and one other parameter.",
                "Use another model.",
            )
        self.model, self.limits, self.iterations = model, limits, iterations
        curves = simulated_curves(model, generator=torch.Generator().manual_seed(0))
        directions, shares = principal(curves.T)
        rank = min(_RANK, model.acquisition.contrasts)
        basis = directions[:, :rank]
        self.basis = (basis * torch.where(basis.sum(0) < 0, -1.0, 1.0)).float()
        self.shares = torch.diff(shares[:rank], prepend=shares.new_zeros(1)).float()
        self.middle = math.log(limits[0]) * 0.5 + math.log(limits[1]) * 0.5

    @property
    def count(self) -> int:
        """Channels."""
        known = len(self.model.parameters) - len(self.model.estimated)
        return 2 * self.model.acquisition.contrasts + 2 * len(self.shares) + 6 + known

    @torch.no_grad()
    def __call__(self, scans: Scans) -> Features:
        """Features of scans."""
        components, zero_filled = self.images(scans)
        trailing = (1,) * (components.ndim - 2)
        main = components[:, 0]
        scale = main.abs().flatten(1).quantile(0.95, 1).clamp_min(torch.finfo(main.real.dtype).tiny)
        unit = scale.view(-1, 1, *trailing)
        phase = main / main.abs().clamp_min(torch.finfo(main.real.dtype).tiny)
        components = components / unit * phase.conj()[:, None]
        zero_filled = zero_filled / unit * phase.conj()[:, None]
        images = torch.einsum("ti,bi...->bt...", self.basis.to(components.dtype), components)
        amplitude, value = self._fit(images, scans.known)
        crude_amplitude, crude = self._fit(zero_filled, scans.known)
        noise = scans.noise / scale
        weights = self.shares[:1].div(self.shares).sqrt().clamp_max(10).view(-1, *trailing)
        rows = [
            zero_filled.real,
            zero_filled.imag,
            components.real * weights,
            components.imag * weights,
            torch.stack(
                [amplitude, value.log() - self.middle, crude_amplitude, crude.log() - self.middle], 1
            ),
            (noise.log10() + 2).view(-1, 1, *trailing).expand_as(amplitude[:, None]),
            (scans.acceleration / 8).view(-1, 1, *trailing).expand_as(amplitude[:, None]),
            *(known[:, None] - 1 for known in scans.known.values()),
        ]
        return Features(torch.cat(rows, 1), amplitude, value, phase, scale, noise)

    def images(self, scans: Scans) -> tuple[Tensor, Tensor]:
        """Components (slice, component, *voxels) and zero-filled images (slice, contrast, *voxels)."""
        dimensions = scans.sensitivities.ndim - 2
        voxels = tuple(range(-dimensions, 0))
        axes = tuple(a for a in voxels if scans.sampling.shape[a] > 1)
        coils = scans.sensitivities
        mask = torch.fft.ifftshift(scans.sampling.to(self.basis), axes)
        kernel = torch.einsum("ti,bt...,tj->b...ij", self.basis, mask, self.basis)
        back = scans.zero_filled()
        right = torch.einsum("ti,bt...->bi...", self.basis.to(back.dtype), back)
        density = scans.sampling.float().flatten(1).mean(1)
        energy = back.abs().square().flatten(2).mean(2).sum(1) / density**2
        damping = self._damping(scans.noise, energy, back.shape[2:])
        density = density.view(-1, *(1,) * (dimensions + 1))

        def system(x: Tensor) -> Tensor:
            seen = torch.fft.fftn(coils[:, :, None] * x[:, None], dim=axes)
            pairs = torch.view_as_real(seen)
            mixed = torch.einsum("b...ij,bcj...r->bci...r", kernel, pairs)
            seen = torch.fft.ifftn(torch.view_as_complex(mixed.contiguous()), dim=axes)
            data = (coils.conj()[:, :, None] * seen).sum(1)
            return data + torch.fft.ifftn(damping * torch.fft.fftn(x, dim=voxels), dim=voxels)

        def precondition(x: Tensor) -> Tensor:
            return torch.fft.ifftn(torch.fft.fftn(x, dim=voxels) / (density + damping), dim=voxels)

        found = conjugate_gradient(
            system, right, iterations=self.iterations, preconditioner=precondition, dimensions=dimensions + 1
        )
        return found, back / density

    def _damping(self, noise: Tensor, energy: Tensor, voxels: torch.Size) -> Tensor:
        """Noise over expected power of every component and spatial frequency, (slice, component, *frequencies)."""
        axes = [torch.fft.fftfreq(side) * side for side in voxels]
        square = torch.stack(torch.meshgrid(*axes, indexing="ij")).square().sum(0)
        power = (1 + square / _CORNER**2) ** -2
        power = power / power.mean()
        trailing = (1,) * len(voxels)
        expected = _TRUST * self.shares.view(1, -1, *trailing) * energy.view(-1, 1, *trailing) * power
        ratio = 2 * noise.square().view(-1, 1, *trailing) / expected.clamp_min(1e-30)
        return ratio.clamp_max(_MOST_DAMPED)

    def _fit(self, images: Tensor, known: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Amplitude and value (slice, *voxels) of the voxel-wise fit."""
        size = images.abs().movedim(1, 0).contiguous()
        unknowns, v = fitted(torch.complex(size, torch.zeros_like(size)), self.model, known, _FAINT)
        x = unknowns.parameters(v).float()
        low, high = self.limits
        return x[0], x[1].clamp(1.05 * low, 0.95 * high)
