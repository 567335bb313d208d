"""Noise of receive coils: its covariance, whitening, and fewer coils that hold the same."""

from __future__ import annotations

import torch
from torch import Tensor

from fastqmri.core import DataError
from fastqmri.physics.encoding.operator import LinearOperator


def noise_covariance(noise: Tensor) -> Tensor:
    """Covariance (coil, coil) complex128 of noise samples (coil, sample): E[n n^H].

    Raises:
        DataError: fewer samples than needed for a covariance that can be inverted.
    """
    coils, samples = noise.shape
    if samples <= 2 * coils or not bool(torch.isfinite(noise.real + noise.imag).all()):
        raise DataError(
            f"{samples} noise samples of {coils} coils",
            "a covariance needs more than twice as many samples as there are coils, all finite.",
            "Give a longer noise scan.",
        )
    wide = noise.to(torch.complex128)
    wide = wide - wide.mean(1, keepdim=True)
    return wide @ wide.mH / (samples - 1)


def whitening_of(noise: Tensor) -> Tensor:
    """The matrix (coil, coil) that makes noise like ``noise`` (coil, sample) white with variance one.

    Variance is of complex samples, E|n|^2 = 1: each of the two channels has 1/2.

    Source: Pruessmann 2001, section on noise decorrelation: the inverse of the Cholesky factor of the covariance.

    Raises:
        DataError: too few samples, or coils whose noise is linearly dependent or zero.
    """
    factor, failed = torch.linalg.cholesky_ex(noise_covariance(noise))
    diagonal = factor.diagonal().real
    if int(failed) or float(diagonal.min()) < 1e-6 * float(diagonal.max()):
        raise DataError(
            f"noise of {noise.shape[0]} coils with a singular covariance",
            "a coil without noise, or one that copies another, cannot be whitened.",
            "Leave out the broken coil.",
        )
    return torch.linalg.solve_triangular(
        factor, torch.eye(len(factor), dtype=factor.dtype, device=factor.device), upper=False
    )


def prewhiten(kspace: Tensor, whitening: Tensor, axis: int) -> Tensor:
    """``kspace`` with its coils along ``axis`` mixed by a matrix (virtual coil, coil) of `whitening_of`."""
    moved = kspace.movedim(axis, 0)
    mixed = whitening.to(kspace.dtype) @ moved.reshape(len(moved), -1)
    return mixed.view(len(mixed), *moved.shape[1:]).movedim(0, axis)


def rim_noise(kspace: Tensor, mask: Tensor, *, part: float = 0.1) -> Tensor:
    """Noise (coil, sample) from the rim of Cartesian k-space, where no noise scan is at hand.

    The measured samples farthest from the middle; what the object has there counts as noise too.

    Args:
        kspace: (contrast, coil, *k-space).
        mask: (contrast or 1, *k-space) bool.
        part: of the measured samples that is taken.

    Raises:
        DataError: too few samples.
    """
    axes = [(torch.arange(side) - side // 2) / max(side / 2, 1) for side in kspace.shape[2:]]
    distance = torch.stack(torch.meshgrid(*axes, indexing="ij")).square().sum(0).to(kspace.device)
    coils = kspace.shape[1]
    parts = []
    for samples, measured in zip(kspace, mask.expand(len(kspace), *mask.shape[1:]), strict=True):
        away = distance[measured]
        count = int(part * len(away))
        parts.append(samples[:, measured][:, away.topk(count).indices])
    noise = torch.cat(parts, 1)
    if noise.shape[1] <= 2 * coils:
        raise DataError(
            f"{noise.shape[1]} samples at the rim of k-space for {coils} coils",
            "a covariance needs more than twice as many samples as there are coils.",
            "Give a noise scan, or take a larger part of k-space.",
        )
    return noise


def compression_of(kspace: Tensor, coils: int | None = None, *, axis: int, energy: float = 0.99) -> Tensor:
    """The matrix (virtual coil, coil), of orthonormal rows, that keeps most of the signal; `prewhiten` applies it.

    Source: Buehrer 2007: singular vectors of the coils. Prewhiten first: white noise stays white.

    Args:
        kspace: signal with coils along ``axis``.
        coils: virtual coils to keep; as many as hold ``energy`` if None.
        axis: of the coils.
        energy: part of the signal's energy.

    Raises:
        DataError: more virtual coils than there are, or a part of energy that isn't between 0 and 1.
    """
    flat = kspace.movedim(axis, 0).flatten(1)
    own = len(flat)
    if (coils is not None and not 1 <= coils <= own) or not 0 < energy <= 1:
        raise DataError(
            f"{coils} virtual coils of {own}, energy {energy:g}",
            "compression keeps at least one coil and at most all, and a part of the energy from 0 to 1.",
            "Choose fewer virtual coils.",
        )
    gram = (flat @ flat.mH).to(torch.complex128)
    values, vectors = torch.linalg.eigh(gram)
    held = values.flip(0).clamp_min(0).cumsum(0)
    kept = coils if coils is not None else int((held < energy * held[-1]).sum()) + 1
    return vectors.flip(1)[:, :kept].mH.contiguous()


def noise_gain(encoding: LinearOperator, like: Tensor) -> float:
    """Standard deviation of E^H n for white noise n of standard deviation one, the mean over the voxels seen.

    Known from one draw, always the same.

    Args:
        encoding: E.
        like: k-space.
    """
    generator = torch.Generator().manual_seed(0)
    white = torch.randn(like.shape, dtype=like.dtype, generator=generator).to(like.device)
    image = encoding.adjoint(white)
    energy = image.abs().square()
    seen = energy > 1e-6 * energy.mean()
    return float(energy[seen].mean().sqrt()) if bool(seen.any()) else 0.0
