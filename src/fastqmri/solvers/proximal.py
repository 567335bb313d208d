"""Proximal operators: argmin_z ½||z - x||² + R(z), for real and complex x of any shape.

Thresholds are numbers, or tensors that broadcast against the magnitudes they act on.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fastqmri.solvers.isotonic import non_increasing

Threshold = float | Tensor


def soft(x: Tensor, threshold: Threshold) -> Tensor:
    """Soft thresholding, R = t Σ|z|: magnitudes shrink by the threshold, signs and phases stay."""
    return x * _shrinkage(x.abs(), threshold)


def group_soft(x: Tensor, threshold: Threshold, axes: int | tuple[int, ...]) -> Tensor:
    """Group soft thresholding, R = t Σ_g ||z_g||: what lies along ``axes`` shrinks together.

    Source: Yuan 2006.
    """
    return x * _shrinkage(joint_magnitude(x, axes), threshold)


def sparse_group_soft(
    x: Tensor, threshold: Threshold, group_threshold: Threshold, axes: int | tuple[int, ...]
) -> Tensor:
    """R = t Σ|z| + u Σ_g ||z_g||: soft thresholding, then group soft thresholding.

    Source: Simon 2013.
    """
    return group_soft(soft(x, threshold), group_threshold, axes)


def ordered(x: Tensor, weights: Tensor) -> Tensor:
    """Ordered weighted l1 norm, R = Σ_i w_i |z|_(i), |z|_(1) the largest, along the last axis.

    Source: Zeng 2014.

    Args:
        x: (..., element).
        weights: (element), non-negative and in descending order.
    """
    magnitude = x.abs()
    largest, order = magnitude.sort(dim=-1, descending=True, stable=True)
    shrunk = non_increasing(largest - weights.to(largest)).clamp_min(0)
    shrunk = torch.empty_like(shrunk).scatter_(-1, order, shrunk)
    return x * (shrunk / magnitude.clamp_min(torch.finfo(magnitude.dtype).tiny))


def oscar_weights(count: int, threshold: float, slope: float) -> Tensor:
    """Weights of OSCAR for `ordered`: R = t Σ|z| + s Σ_{i<j} max(|z_i|, |z_j|), w_i = t + s (count - i), i from 1.

    Source: Bondell 2008.
    """
    return threshold + slope * torch.arange(count - 1, -1, -1, dtype=torch.float64)


def singular_soft(x: Tensor, threshold: Threshold) -> Tensor:
    """Soft thresholding of the singular values of matrices, R = t ||Z||_*.

    By the eigenvalues of the smaller of the two Gram matrices, so that long thin matrices are cheap; singular values
    below the root of the machine precision, relative to the largest, are not told from zero.

    Source: Cai 2010.

    Args:
        x: (..., row, column).
        threshold: a number, or (...).
    """
    tall = x.shape[-2] >= x.shape[-1]
    gram = x.mH @ x if tall else x @ x.mH
    energies, vectors = torch.linalg.eigh(gram)
    values = energies.clamp_min(0).sqrt()
    if isinstance(threshold, Tensor):
        threshold = threshold.unsqueeze(-1)
    filtered = (vectors * _shrinkage(values, threshold).unsqueeze(-2)) @ vectors.mH
    return x @ filtered if tall else filtered @ x


def within_ball(x: Tensor, radius: Threshold, axes: int | tuple[int, ...] | None = None) -> Tensor:
    """Projection on max ||z_g|| <= radius, the dual of `group_soft` (of `soft` without ``axes``)."""
    magnitude = x.abs() if axes is None else joint_magnitude(x, axes)
    tiny = torch.finfo(magnitude.dtype).tiny
    return x * (radius / magnitude.clamp_min(tiny)).clamp_max_(1)


def box(x: Tensor, lower: Threshold | None, upper: Threshold | None) -> Tensor:
    """Projection of real x on lower <= z <= upper; None is no limit."""
    if lower is not None:
        x = x.clamp_min(lower)
    return x if upper is None else x.clamp_max(upper)


def joint_magnitude(x: Tensor, axes: int | tuple[int, ...]) -> Tensor:
    """Euclidean norm along ``axes``, which stay with length 1."""
    # several times faster than a vector norm along any but the last axis
    energy = x.abs().square().sum(axes, keepdim=True)
    return energy.clamp_min(torch.finfo(energy.dtype).tiny).sqrt()  # with a gradient at zero


def _shrinkage(magnitude: Tensor, threshold: Threshold) -> Tensor:
    """max(0, 1 - t / m), zero for m = 0."""
    tiny = torch.finfo(magnitude.dtype).tiny
    return (1 - threshold / magnitude.clamp_min(tiny)).clamp_min_(0)
