"""Dipole inversions that expect susceptibility to jump in few places: total variation, also with known edges."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d

from fastqmri.core import DataError
from fastqmri.estimators.susceptibility.inversion import LocalField, SusceptibilityMap
from fastqmri.estimators.susceptibility.inversion_direct import laplacian_kernel

_REPEATED = (
    "one repetition with drawn noise, its change averaged over five voxels; the systematic error is not in it"
)


@dataclass(frozen=True)
class TotalVariation:
    """min ½||W (Dχ - δ)||² + λ Σ m |∇χ| by ADMM, which splits off ∇χ and Dχ; four real FFTs an iteration.

    With ``nonlinear`` the data term is ½||W (exp(iφ Dχ) - exp(iφ δ))||² / φ² with the echo's phase φ for one ppm, which
    leaves phase wraps alone; with ``edges`` the strongest gradients of the magnitude are free of penalty (m = 0), as in
    morphology enabled dipole inversion.

    Source: Bilgic 2014 (splitting of ∇χ); Milovic 2018 (splitting of Dχ, nonlinear data term); Liu 2012 (edges).

    Attributes:
        regularisation: λ in ppm; None takes noise² / jump.
        jump: size in ppm of the jumps between neighbours that are expected, for λ from the noise.
        threshold: jumps in ppm that the first iterations let pass; sets the speed, not the result.
        coupling: weight of the split Dχ; sets the speed, not the result. None takes 0.1, and 1 for the nonlinear data
            term, which needs it to have one minimum a voxel.
        nonlinear: data term of the complex signal.
        edges: share of the mask's voxels, along each axis, whose magnitude gradients count as edges; 0 for none.
        iterations: at most.
        tolerance: relative change of χ to stop at.
    """

    regularisation: float | None = None
    jump: float = 0.02
    threshold: float = 0.01
    coupling: float | None = None
    nonlinear: bool = False
    edges: float = 0.0
    iterations: int = 100
    tolerance: float = 3e-3

    def __call__(self, local: LocalField) -> SusceptibilityMap:
        """Invert.

        Raises:
            DataError: edges without a magnitude.
        """
        chi, iterations, converged = self._minimise(local)

        def spread() -> Tensor:
            generator = torch.Generator().manual_seed(0)
            noise = torch.randn(local.field.shape, dtype=local.field.dtype, generator=generator)
            noise = noise.to(local.field.device) * local.variance.sqrt()
            again, *_ = self._minimise(
                dataclasses.replace(local, field=local.field + noise, known_noise=local.noise, progress=None)
            )
            return local_size(again - chi, local.mask)

        return SusceptibilityMap(chi, spread, _REPEATED, iterations=iterations, converged=converged)

    def _minimise(self, local: LocalField) -> tuple[Tensor, int, bool]:
        strength = self._strength(local)
        rho = strength / self.threshold
        mu = (1.0 if self.nonlinear else 0.1) if self.coupling is None else self.coupling
        kernel, field = local.kernel, local.field[0]
        squared = local.weight[0].square()
        share = squared / (squared + mu)
        scale = local.radians_per_ppm if self.nonlinear else None
        below = kernel.square().mul_(mu).add_(laplacian_kernel(local.voxels, like=kernel), alpha=rho)
        below[0, 0, 0] = 1
        inverse = below.reciprocal_()
        field_part = kernel * inverse * mu
        jump_part = inverse * rho
        limits = [self._limit(local, axis) for axis in range(3)]
        residual = [torch.zeros_like(field) for _ in range(3)]
        rest = torch.zeros_like(field)
        # what the two splits ask of χ: at first the field as it was measured, and no jumps
        wanted = share * field
        source: Tensor | None = None
        chi = torch.zeros_like(field)
        for iteration in range(self.iterations):
            spectrum = torch.fft.rfftn(wanted).mul_(field_part)
            if source is not None:
                spectrum.addcmul_(torch.fft.rfftn(source), jump_part)
            seen = torch.fft.irfftn(spectrum * kernel, s=local.voxels)
            previous, chi = chi, torch.fft.irfftn(spectrum, s=local.voxels)
            source = torch.zeros_like(chi)
            for axis in range(3):
                jump = _forward_difference(chi, axis).add_(residual[axis])
                torch.clamp(jump, -limits[axis], limits[axis], out=residual[axis])
                _add_backward_difference(source, jump.sub_(residual[axis], alpha=2), axis)
            seen.add_(rest)
            if scale is None:
                torch.sub(seen, field, out=rest).mul_(share)
            else:
                rest = seen - _on_the_circle(seen, field, squared, mu, scale)
            wanted = seen.sub_(rest, alpha=2)
            if local.progress:
                local.progress(iteration + 1, self.iterations)
            change = float(torch.dist(chi, previous))
            if iteration and change <= self.tolerance * float(chi.norm()):
                return chi, iteration + 1, True
        return chi, self.iterations, False

    def _strength(self, local: LocalField) -> float:
        given = local.noise**2 / self.jump if self.regularisation is None else self.regularisation
        return max(given, 1e-7)

    def _limit(self, local: LocalField, axis: int) -> Tensor:
        """Largest dual of the jumps along an axis: (*voxels), or a scalar where they all count alike."""
        size = local.voxel_size
        limit = self.threshold * (sum(size) / 3) / size[axis]
        if not self.edges:
            return torch.tensor(limit, dtype=local.field.dtype, device=local.field.device)
        if local.magnitude is None:
            raise DataError(
                "an inversion that looks for edges, without a magnitude",
                "it has no other place to look.",
                "Give the magnitude, or choose an inversion without edges.",
            )
        slope = _forward_difference(local.magnitude.to(local.field), axis).abs_()
        inside = slope[local.mask]
        at = max(1, round((1 - self.edges) * len(inside)))
        return torch.where(local.mask & (slope > inside.kthvalue(at).values), 0.0, limit)


def _forward_difference(x: Tensor, axis: int) -> Tensor:
    """Next voxel less this one, round the end."""
    out = torch.empty_like(x)
    side = x.shape[axis]
    torch.sub(x.narrow(axis, 1, side - 1), x.narrow(axis, 0, side - 1), out=out.narrow(axis, 0, side - 1))
    torch.sub(x.narrow(axis, 0, 1), x.narrow(axis, side - 1, 1), out=out.narrow(axis, side - 1, 1))
    return out


def _add_backward_difference(total: Tensor, x: Tensor, axis: int) -> None:
    """Add the adjoint of `_forward_difference`."""
    side = x.shape[axis]
    total.sub_(x)
    total.narrow(axis, 1, side - 1).add_(x.narrow(axis, 0, side - 1))
    total.narrow(axis, 0, 1).add_(x.narrow(axis, side - 1, 1))


def _on_the_circle(seen: Tensor, field: Tensor, squared: Tensor, mu: float, scale: float) -> Tensor:
    """z of w² sin(s (z - δ)) / s + μ (z - seen) = 0 by Newton's method, from ``seen``."""
    z = seen.clone()
    for _ in range(4):
        angle = (z - field).mul_(scale)
        slope = (squared * torch.cos(angle)).clamp_min_(0).add_(mu)
        z.sub_((squared * torch.sin(angle)).div_(scale).add_(z - seen, alpha=mu).div_(slope))
    return z


def local_size(difference: Tensor, mask: Tensor) -> Tensor:
    """Root mean square over the mask's voxels in a cube of five round each voxel; zero outside the mask.

    Args:
        difference: (*voxels).
        mask: (*voxels) bool.
    """
    inside = mask.to(difference)
    pair = torch.stack([difference.square() * inside, inside])[:, None]
    means = avg_pool3d(pair, 5, stride=1, padding=2)[:, 0]
    return torch.where(mask, (means[0] / means[1].clamp_min(1e-6)).sqrt(), 0.0)
