"""Nonlinear dipole inversion: gradient descent on the complex signal, stopped early."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fastqmri.estimators.susceptibility.inversion import (
    AXES,
    LocalField,
    SusceptibilityMap,
    filtered_deviation,
)

_LINEARISED = (
    "noise of the field through as many iterations with the mean weight; the systematic error is not in it"
)


@dataclass(frozen=True)
class NonlinearDipole:
    """Gradient descent on ½ Σ ||M (exp(iφ Dχ) - exp(iφ δ))||², stopped when the gradient settles (NDI).

    Any number of orientations. Whole turns of the phase make no difference. Without the phase φ for one ppm the data
    term is the linear one.

    Source: Polak 2020.

    Attributes:
        step: of the gradient, as a fraction of the inverse of its Lipschitz constant, which is the largest sum of D²
            over the orientations; below 2.
        iterations: at most.
        tolerance: relative change of the gradient's size to stop at; None takes 0.5 % for one orientation and 1 % for
            several.
    """

    step: float = 8 / 9
    iterations: int = 200
    tolerance: float | None = None

    def __call__(self, local: LocalField) -> SusceptibilityMap:
        """Invert."""
        kernels = local.kernels
        sums = kernels.square().sum(0)
        step = self.step / float(sums.amax())
        squared = local.weight.square()
        squared = squared / squared.amax()
        scale = local.radians_per_ppm
        field = local.field if scale is None else _wrapped(local.field, scale)
        tolerance = (0.005 if len(kernels) == 1 else 0.01) if self.tolerance is None else self.tolerance
        spectrum = torch.zeros_like(torch.complex(kernels[0], kernels[0]))
        size, done, converged = 0.0, 0, False
        for done in range(1, self.iterations + 1):
            gradient = torch.zeros_like(spectrum)
            for one, kernel in enumerate(kernels):
                away = torch.fft.irfftn(spectrum * kernel, s=local.voxels, dim=AXES).sub_(field[one])
                if scale is not None:
                    away.mul_(scale).sin_().div_(scale)
                away.mul_(squared[min(one, len(squared) - 1)])
                gradient.addcmul_(torch.fft.rfftn(away, dim=AXES), kernel)
            spectrum.sub_(gradient, alpha=step)
            if local.progress:
                local.progress(done, self.iterations)
            # of the half spectrum, which the whole follows closely enough for a rule to stop by
            before, size = size, float(torch.linalg.vector_norm(torch.view_as_real(gradient)))
            if before and abs(before - size) <= tolerance * size:
                converged = True
                break
        chi = torch.fft.irfftn(spectrum, s=local.voxels, dim=AXES)
        mean = float(squared[:, local.mask].mean())

        def spread() -> Tensor:
            left = (1 - (1 - step * mean * sums).pow(done)) / sums.clamp_min(1e-12)
            return torch.where(local.mask, filtered_deviation(kernels * left, local.variance), 0.0)

        return SusceptibilityMap(chi, spread, _LINEARISED, iterations=done, converged=converged)


def _wrapped(field: Tensor, scale: float) -> Tensor:
    """The field less whole turns of the phase, so that they can't cost digits either."""
    turns = torch.round(field.double() * (scale / (2 * math.pi)))
    return (field.double() - turns * (2 * math.pi / scale)).to(field.dtype)
