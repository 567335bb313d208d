"""The phase that the field adds while k-space is read out."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fastqmri.core import DataError, PlausibilityError, ShapeError
from fastqmri.physics.encoding.operator import LinearOperator

_MOST = 64
"""Segments at most: beyond, reading out in several parts is the better idea."""


class OffResonance(LinearOperator):
    """Samples of an image whose voxels are off resonance: y_s = (F x(t_s))_s, x(t) = x exp(2πi f t).

    The exponential is split into time segments, exp(2πi f t) ≈ Σ_l b_l(t) exp(2πi f τ_l), so that the operator is a sum
    of the given one between two products. The b_l are least-squares fits over the histogram of the field. Their number
    is the smallest that keeps the root mean square error over the voxels below ``tolerance`` at every time; what was
    reached is in `error`.

    Source: Sutton 2003; least squares over the histogram as in Fessler 2005.

    Args:
        transform: F, from the field map's voxels to samples.
        field: (*voxels) Hz, positive where the phase grows.
        times: s after the excitation (or whatever instant the image's phase belongs to), broadcastable to the samples:
            (sample,) for `NonUniformFourier`, (1, readout) for lines of a Cartesian scan along the last axis.
        tolerance: root mean square error of the unit phasor to reach.
        segments: number of segments instead, whatever their error.
        weights: (*voxels), how much each voxel counts in the error, its expected brightness for one; all alike if None.

    Raises:
        ShapeError: a field map of another matrix than the transform.
        DataError: a field or times that are not finite.
        PlausibilityError: a tolerance that no reasonable number of segments reaches.
    """

    def __init__(
        self,
        transform: LinearOperator,
        field: Tensor,
        times: Tensor,
        *,
        tolerance: float = 1e-3,
        segments: int | None = None,
        weights: Tensor | None = None,
    ) -> None:
        super().__init__()
        domain = transform.domain
        if domain is not None and domain != tuple(field.shape):
            raise ShapeError(
                f"a field map of {tuple(field.shape)} for a transform of {domain}",
                "every voxel needs its field.",
                "Resample the field map to the images' matrix.",
            )
        if not (torch.isfinite(field).all() and torch.isfinite(times).all()):
            raise DataError(
                "a field map or sample times with values that are not finite",
                "they turn whole images into nothing.",
                "Set the field to zero outside the object.",
            )
        self.transform = transform
        self.domain, self.range = tuple(field.shape), transform.range or tuple(field.shape)
        moments, interpolators, self.error = _segmented(field, times, weights, tolerance, segments)
        self.register_buffer("interpolators", interpolators)
        turns = moments.to(field.dtype).view(-1, *(1,) * field.ndim) * field
        self.register_buffer("phasors", torch.polar(torch.ones_like(turns), 2 * math.pi * turns))

    interpolators: Tensor
    phasors: Tensor

    @property
    def segments(self) -> int:
        """Number of time segments."""
        return len(self.phasors)

    def forward(self, x: Tensor) -> Tensor:
        """(..., *voxels) -> (..., *samples)."""
        return sum(
            b.to(x.dtype) * self.transform(x * c.to(x.dtype))
            for b, c in zip(self.interpolators, self.phasors, strict=True)
        )

    def adjoint(self, y: Tensor) -> Tensor:
        """(..., *samples) -> (..., *voxels)."""
        return sum(
            c.to(y.dtype).conj() * self.transform.adjoint(y * b.to(y.dtype).conj())
            for b, c in zip(self.interpolators, self.phasors, strict=True)
        )

    def zero_filled(self, y: Tensor) -> Tensor:
        """The adjoint, with the weights of the samples that the transform knows."""
        return sum(
            c.to(y.dtype).conj() * self.transform.zero_filled(y * b.to(y.dtype).conj())
            for b, c in zip(self.interpolators, self.phasors, strict=True)
        )


def _segmented(
    field: Tensor, times: Tensor, weights: Tensor | None, tolerance: float, segments: int | None
) -> tuple[Tensor, Tensor, float]:
    """Moments (segment,), interpolators (segment, *times), and the largest error over the times."""
    t = times.detach().double()
    moment, inverse = torch.unique(t, return_inverse=True)
    begin, end = moment[0], moment[-1]
    f = field.detach().double().reshape(-1)
    low, high = f.min(), f.max()
    turns = float((high - low) * (end - begin))
    bins = 64 + 16 * math.ceil(turns)
    if bins > 1_000_000:
        raise PlausibilityError(
            f"a field of {float(low):g} to {float(high):g} Hz read out for {float(end - begin):g} s",
            f"its phases differ by {turns:g} turns at the end.",
            "Check the units (Hz and s), and mask the field map.",
        )
    width = ((high - low) / bins).clamp_min(1e-12)
    which = ((f - low) / width).long().clamp(0, bins - 1)
    count = torch.ones_like(f) if weights is None else weights.detach().double().reshape(-1)
    histogram = torch.zeros(bins, dtype=torch.float64, device=f.device).index_add(0, which, count)
    centres = low + (torch.arange(bins, device=f.device) + 0.5) * width
    kept = histogram > 0
    importance, centres = (histogram[kept] / histogram.sum()).sqrt(), centres[kept]
    wanted = torch.polar(
        importance[:, None].expand(-1, len(moment)), 2 * math.pi * torch.outer(centres, moment)
    )
    numbers = [segments] if segments is not None else range(1, _MOST + 1)
    for number in numbers:
        at = torch.linspace(0, 1, number, dtype=torch.float64, device=f.device) * (end - begin) + begin
        if number == 1:
            at = ((begin + end) / 2)[None]
        basis = torch.polar(importance[:, None].expand(-1, number), 2 * math.pi * torch.outer(centres, at))
        fitted = torch.linalg.pinv(basis, rtol=1e-12) @ wanted
        error = float((basis @ fitted - wanted).norm(dim=0).max())
        if segments is not None or error <= tolerance:
            kind = torch.complex64 if field.dtype == torch.float32 else torch.complex128
            return at, fitted[:, inverse].to(kind), error
    raise PlausibilityError(
        f"a field of {float(low):g} to {float(high):g} Hz read out for {float(end - begin):g} s",
        f"{_MOST} time segments leave an error of {error:.2g}, {tolerance:.2g} is wanted.",
        "Check the units (Hz and s), mask the field map, or ask for less.",
    )
