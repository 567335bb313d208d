"""Phase without wraps, in space and from echo to echo."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fastqmri.core import ShapeError, UnknownNameError
from fastqmri.physics.signal.echoes import closest_echoes, nearest_first
from fastqmri.solvers.growing import BEST, grow

METHODS = ("region-growing", "laplacian")
_SMOOTHING = 6.0
"""Standard deviation in mm of the Gaussian that smooths the phase at TE = 0: coils vary over centimetres."""
_LEAST_WEIGHT = 0.1
"""Of each of the factors of an edge's quality, so that a single bad one does not decide alone."""


@dataclass(frozen=True)
class Unwrapped:
    """Phases of all echoes without wraps.

    Attributes:
        phase: (echo, *voxels) rad, the phase at TE = 0 taken off; zero outside the mask.
        offset: (*voxels) rad, the smooth phase at TE = 0 that was taken off; zeros where none was.
        template: index of the echo that was unwrapped in space, the others following from it.
        regions: (*voxels) int32 number of each connected region, 0 outside.
    """

    phase: Tensor
    offset: Tensor
    template: int
    regions: Tensor


def wrap(phase: Tensor) -> Tensor:
    """Phase (any shape) in rad, brought to -π … π."""
    return phase - 2 * math.pi * torch.round(phase / (2 * math.pi))


def differences(x: Tensor, axis: int) -> Tensor:
    """Forward difference along one of the last three axes, zero at the end; shaped like ``x``."""
    size = x.shape[axis - 3]
    step = x.narrow(axis - 3, 1, size - 1) - x.narrow(axis - 3, 0, size - 1)
    return torch.nn.functional.pad(step, (0, 0) * (2 - axis) + (0, 1))


def edges_inside(mask: Tensor) -> Tensor:
    """(3, x, y, z) bool: edges from each voxel to its next along each axis that lie inside the mask (x, y, z)."""
    edges = torch.zeros(3, *mask.shape, dtype=torch.bool)
    for axis in range(3):
        size = mask.shape[axis] - 1
        both = mask.narrow(axis, 0, size) & mask.narrow(axis, 1, size)
        edges[axis].narrow(axis, 0, size).copy_(both)
    return edges


def edge_quality(
    phase: Tensor,
    mask: Tensor,
    *,
    magnitude: Tensor | None = None,
    second: Tensor | None = None,
    times: tuple[float, float] = (1.0, 2.0),
) -> Tensor:
    """How far each edge between neighbours can be trusted not to hide a wrap.

    The product of: coherence of the phase; the same gradient in both echoes, in proportion to their times;
    linearity of the phase over the two edges at either end; similar magnitudes. Only differences of neighbours
    enter, whatever the edge lengths of the voxels.

    Source: Dymerska 2021.

    Args:
        phase: (x, y, z) rad, of the echo to unwrap.
        mask: (x, y, z) bool.
        magnitude: (x, y, z), or None.
        second: (x, y, z) rad, phase of another echo, or None.
        times: echo times in s of ``phase`` and of ``second``.

    Returns:
        (3, x, y, z) uint8, 0 where there is no edge.
    """
    inside = edges_inside(mask)
    quality = torch.zeros(3, *mask.shape, dtype=torch.uint8)
    for axis in range(3):
        step = wrap(differences(phase, axis))
        weight = _factor(1 - step.abs() / math.pi)
        if second is not None:
            other = wrap(differences(second, axis))
            weight = weight * _factor(1 - (step - other * (times[0] / times[1])).abs())
        bend = wrap(differences(step, axis)).abs()  # of this edge and the next
        before = torch.roll(bend, 1, axis)
        weight = weight * _factor(1 - bend / 2) * _factor(1 - before / 2)
        if magnitude is not None:
            following = torch.roll(magnitude, -1, axis)
            ratio = torch.minimum(magnitude, following) / torch.maximum(magnitude, following).clamp_min(1e-30)
            weight = weight * _factor(ratio**2)
        levels = (weight * BEST).round().clamp(1, BEST).to(torch.uint8)
        quality[axis] = torch.where(inside[axis], levels, 0)
    return quality


def _factor(weight: Tensor) -> Tensor:
    return _LEAST_WEIGHT + (1 - _LEAST_WEIGHT) * weight.clamp(0, 1)


def grow_regions(
    phase: Tensor,
    mask: Tensor,
    *,
    magnitude: Tensor | None = None,
    second: Tensor | None = None,
    times: tuple[float, float] = (1.0, 2.0),
) -> tuple[Tensor, Tensor]:
    """Unwrap a volume along its most trustworthy edges; arguments as `edge_quality`.

    Each connected region of the mask is shifted by whole turns so that its median lies nearest to zero.

    Returns:
        Phase without wraps (x, y, z) in rad, zero outside; and the region of each voxel, int32, 0 outside.
    """
    quality = edge_quality(phase, mask, magnitude=magnitude, second=second, times=times)
    turns, regions = grow(phase, mask, quality)
    smooth = phase + 2 * math.pi * turns.to(phase.dtype)
    return torch.where(mask, _nearest(smooth, regions, None), 0), regions


def _nearest(phase: Tensor, regions: Tensor, target: Tensor | None) -> Tensor:
    """Each region shifted by whole turns so that the median of phase - target lies nearest to zero."""
    flat, labels = phase.reshape(-1).clone(), regions.reshape(-1)
    excess = flat if target is None else flat - target.reshape(-1)
    order = labels.argsort(stable=True)
    counts = torch.bincount(labels)
    for members in order.split(counts.tolist())[1:]:
        flat[members] -= 2 * math.pi * torch.round(excess[members].median() / (2 * math.pi))
    return flat.reshape(phase.shape)


def laplacian(
    phase: Tensor, voxel_size: Sequence[float] = (1.0, 1.0, 1.0), *, boundary: str = "neumann"
) -> Tensor:
    """Phase (*batch, x, y, z) in rad whose Laplacian is that of the wrapped one, in the sense of least squares.

    Exact, but for a constant, where no step between neighbours exceeds half a turn and the boundary is as assumed;
    elsewhere errors spread smoothly, and the result is no longer the phase plus whole turns.

    Source: Ghiglia 1994; Schofield 2003.

    Args:
        phase: (*batch, x, y, z) rad; all of it counts, what lies outside the object too.
        voxel_size: edge lengths; of no influence where no step was lost.
        boundary: ``neumann`` (no flow through the faces of the volume; cosine transform) or ``periodic`` (opposite
            faces are neighbours; Fourier transform).

    Raises:
        UnknownNameError: another boundary.
    """
    if boundary not in ("neumann", "periodic"):
        raise UnknownNameError(
            f"boundary {boundary!r}", "it decides the transform.", "Use neumann or periodic."
        )
    periodic = boundary == "periodic"
    source = torch.zeros_like(phase)
    values = torch.zeros(phase.shape[-3:], dtype=torch.float64)
    for axis in range(3):
        size, weight = phase.shape[axis - 3], 1 / voxel_size[axis] ** 2
        step = torch.roll(phase, -1, axis - 3) - phase if periodic else differences(phase, axis)
        step = weight * wrap(step)
        source += step - torch.roll(step, 1, axis - 3)
        waves = 2 * math.pi / size if periodic else math.pi / size
        own = weight * (2 * torch.cos(waves * torch.arange(size, dtype=torch.float64)) - 2)
        values = values + own.reshape([-1 if a == axis else 1 for a in range(3)])
    values[0, 0, 0] = 1
    divisor = values.to(source)
    if periodic:
        spectrum = torch.fft.fftn(source, dim=(-3, -2, -1)) / divisor
        spectrum[..., 0, 0, 0] = 0
        return torch.fft.ifftn(spectrum, dim=(-3, -2, -1)).real
    spectrum = _cosines(source) / divisor
    spectrum[..., 0, 0, 0] = 0
    return _cosines(spectrum, inverse=True)


def _cosines(x: Tensor, *, inverse: bool = False) -> Tensor:
    """Orthonormal cosine transform (type 2) of the last three axes, by one matrix product an axis."""
    for axis in (-3, -2, -1):
        size = x.shape[axis]
        k = torch.arange(size, dtype=torch.float64)
        matrix = torch.cos(math.pi / size * k[:, None] * (k + 0.5)) * math.sqrt(2 / size)
        matrix[0] /= math.sqrt(2)
        matrix = (matrix.T if inverse else matrix).to(x)
        x = torch.movedim(torch.movedim(x, axis, -1) @ matrix.T, -1, axis)
    return x


def unwrap_echoes(
    data: Tensor,
    echo_times: Sequence[float],
    mask: Tensor,
    *,
    method: str = "region-growing",
    voxel_size: Sequence[float] = (1.0, 1.0, 1.0),
) -> Unwrapped:
    """Unwrap the phases of all echoes of a scan.

    Region growing: the phase at TE = 0 (of coils, of the pulse) is found from the (first) two closest echoes, smoothed
    and taken off, so that phases grow from zero in proportion to TE; the earlier of these echoes is unwrapped in space;
    the others follow from it in time. A bipolar readout, whose odd and even echoes differ by a ramp, isn't corrected.
    Laplacian: each echo for itself, nothing taken off.

    Source: Dymerska 2021; Eckstein 2018; Schofield 2003.

    Args:
        data: (echo, x, y, z) complex.
        echo_times: in s.
        mask: (x, y, z) bool.
        method: one of `METHODS`.
        voxel_size: edge lengths in mm.

    Raises:
        UnknownNameError: another method.
        ShapeError: data that are not volumes.
    """
    if method not in METHODS:
        raise UnknownNameError(
            f"unwrapping {method!r}", "it is not known here.", f"Use one of {', '.join(METHODS)}."
        )
    if data.ndim != 4:
        raise ShapeError(
            f"data of shape {tuple(data.shape)}", "volumes are unwrapped.", "Give (echo, x, y, z)."
        )
    if method == "laplacian":
        smooth = torch.where(mask, laplacian(data.angle(), voxel_size), 0)
        nothing = torch.zeros_like(smooth[0])
        return Unwrapped(smooth, nothing, 0, mask.to(torch.int32))
    if len(data) == 1:
        phase, regions = grow_regions(data[0].angle(), mask, magnitude=data[0].abs())
        return Unwrapped(phase[None], torch.zeros_like(phase), 0, regions)
    first, second = closest_echoes(echo_times)
    rate, offset = _rate_and_offset(
        data[first], data[second], echo_times[first], echo_times[second], mask, voxel_size
    )
    rotated = data * torch.polar(torch.ones_like(offset), -offset)
    times = (echo_times[first], echo_times[second])
    template, regions = grow_regions(
        rotated[first].angle(), mask, magnitude=data[first].abs(), second=rotated[second].angle(), times=times
    )
    template = _nearest(template, regions, rate * times[0])
    smooth = _follow(rotated, echo_times, first, template)
    return Unwrapped(torch.where(mask, smooth, 0), torch.where(mask, offset, 0), first, regions)


def _follow(data: Tensor, echo_times: Sequence[float], first: int, template: Tensor) -> Tensor:
    """Phases (echo, x, y, z) without wraps, given that of echo ``first``: nearest in time come first.

    Each is brought nearest to the line from zero at TE = 0 through those that are unwrapped already.
    """
    phase, power = data.angle(), data.abs() ** 2
    phase[first] = template
    rate_sum, weight_sum = power[first] * echo_times[first] * template, power[first] * echo_times[first] ** 2
    for nearest in nearest_first(echo_times, [first]):
        expected = echo_times[nearest] * rate_sum / weight_sum.clamp_min(torch.finfo(phase.dtype).tiny)
        phase[nearest] = expected + wrap(phase[nearest] - expected)
        rate_sum = rate_sum + power[nearest] * echo_times[nearest] * phase[nearest]
        weight_sum = weight_sum + power[nearest] * echo_times[nearest] ** 2
    return phase


def _rate_and_offset(
    a: Tensor, b: Tensor, time_a: float, time_b: float, mask: Tensor, voxel_size: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """Phase (x, y, z) in rad/s gained between two echoes, and the smoothed phase in rad that is left at TE = 0."""
    product = b * a.conj()
    gained, _ = grow_regions(product.angle(), mask, magnitude=product.abs().sqrt())
    rate = gained / (time_b - time_a)
    left = a * torch.polar(torch.ones_like(rate), -rate * time_a)
    smooth = _smoothed(torch.where(mask, left, 0), [_SMOOTHING / edge for edge in voxel_size])
    return rate, smooth.angle()


def _smoothed(x: Tensor, widths: Sequence[float]) -> Tensor:
    """A volume convolved with a Gaussian of standard deviations ``widths`` in voxels, zeros around it."""
    for axis, width in enumerate(widths):
        size = x.shape[axis]
        place = torch.arange(size, dtype=torch.float64)
        kernel = torch.exp(-0.5 * ((place[:, None] - place) / width) ** 2)
        x = torch.movedim(torch.movedim(x, axis, -1) @ kernel.to(x), -1, axis)
    return x
