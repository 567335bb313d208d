"""Noise of receive coils: its covariance, whitening, and fewer coils that hold the same."""

from __future__ import annotations

import torch
from torch import Tensor

from fastqmri.core import DataError


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
