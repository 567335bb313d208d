"""What is wrong with the samples before any fit: NaN, zero, negative, constant, clipped; and how noisy they are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fastqmri.core import Flag, Measurement, Parameter
from fastqmri.physics.signal import SignalModel

_LEAST_CLIPPED = 4
_LEAST_DIFFERENCES = 100
_NORMAL_QUARTILE = 0.6744897501960817


@dataclass(frozen=True)
class Screened:
    """One chunk of voxels, ready for a solver.

    Attributes:
        data: (contrast, voxel) float64 or complex128, unusable samples set to zero.
        weights: (contrast, voxel), 0 for unusable samples; None where all can be used.
        known: parameter name -> (voxel).
        flags: (voxel) uint8.
        usable: (voxel) bool: enough samples for an estimate.
        samples: (voxel) number of usable samples.
    """

    data: Tensor
    weights: Tensor | None
    known: dict[str, Tensor]
    flags: Tensor
    usable: Tensor
    samples: Tensor


def saturation_level(data: Tensor) -> float | None:
    """The value at which the receiver clips, if the data show it: the maximum, reached suspiciously often.

    Scanners clip at 2ⁿ - 1, where a few equal samples are enough; elsewhere a plateau must be as large as chance
    never makes it. Only real data are looked at.

    Args:
        data: (contrast, *voxels).
    """
    if data.is_complex():
        return None
    tops = [channel[torch.isfinite(channel)] for channel in data]
    highest = max((float(top.max()) for top in tops if len(top)), default=0.0)
    if highest <= 0:
        return None
    count = sum(int((top == highest).sum()) for top in tops)
    total = sum(len(top) for top in tops)
    is_full_scale = highest == round(highest) and highest >= 255 and math.log2(highest + 1).is_integer()
    needed = _LEAST_CLIPPED if is_full_scale else max(50, total // 1000)
    return highest if needed <= count < total // 2 else None


def screen(
    measurement: Measurement, model: SignalModel, index: Tensor, saturation: float | None, known: dict[str, Tensor]
) -> Screened:
    """Take the voxels ``index`` out of a measurement, and judge their samples.

    Args:
        measurement: contrasts on voxels.
        model: decides which samples are possible, and how many a fit needs.
        index: (voxel) flat indices.
        saturation: clipping level, or None.
        known: flat maps of the known parameters.
    """
    raw = measurement.data.reshape(measurement.data.shape[0], -1)[:, index]
    data = raw.to(torch.complex128 if raw.is_complex() else torch.float64)
    finite = torch.isfinite(data)
    good = finite & (data > 0) if model.non_negative and not data.is_complex() else finite
    data = torch.where(good, data, torch.zeros_like(data))
    flags = torch.zeros(len(index), dtype=torch.uint8)
    flags[~good.all(0)] |= int(Flag.INVALID_INPUT)
    if saturation is not None:
        clipped = good & (data.abs() >= saturation)
        flags[clipped.any(0)] |= int(Flag.SATURATED)
        good = good & ~clipped
        data = torch.where(good, data, torch.zeros_like(data))
    samples = good.sum(0)
    constant = _constant(data, good)
    values = {name: array[index].double() for name, array in known.items()}
    bad_known = torch.zeros(len(index), dtype=torch.bool)
    for name, value in values.items():
        bad_known |= ~_within(value, _parameter(model, name))
    needed = len(model.estimated) // (2 if model.complex_valued else 1)
    usable = (samples >= max(needed, 2)) & ~constant & ~bad_known
    flags[~usable] |= int(Flag.INVALID_INPUT)
    return Screened(data, None if bool(good.all()) else good.double(), values, flags, usable, samples)


def image_noise(measurement: Measurement) -> float | None:
    """Noise of one channel from the images themselves, where the fit leaves no residual to judge it by.

    The diagonal second difference of neighbouring pixels holds little but noise; its median absolute value is
    robust against edges. The least of the contrasts is taken: structure only ever adds. None where the images
    have too few neighbours (or no second axis).
    """
    data = measurement.data
    if data.ndim < 3 or min(data.shape[1:3]) < 2:
        return None
    inside = torch.ones(measurement.voxels, dtype=torch.bool) if measurement.mask is None else measurement.mask
    estimates = []
    for contrast in data:
        usable = inside & torch.isfinite(contrast) & (contrast.abs() > 0)
        value = torch.where(usable, contrast, torch.zeros_like(contrast))
        parts = [value.real, value.imag] if value.is_complex() else [value]
        corners = [(slice(None, -1), slice(None, -1)), (slice(1, None), slice(None, -1)),
                   (slice(None, -1), slice(1, None)), (slice(1, None), slice(1, None))]
        together = torch.stack([usable[c] for c in corners]).all(0)
        if int(together.sum()) < _LEAST_DIFFERENCES:
            continue
        for part in parts:
            a, b, c, d = (part[corner] for corner in corners)
            difference = (a - b - c + d)[together].double().abs() / 2
            estimates.append(float(difference.median()) / _NORMAL_QUARTILE)
    positive = [estimate for estimate in estimates if estimate > 0]
    return min(positive) if positive else None


def _constant(data: Tensor, good: Tensor) -> Tensor:
    """Voxels whose usable samples are all equal."""
    magnitude = data.abs()
    high = torch.where(good, magnitude, torch.full_like(magnitude, -torch.inf)).amax(0)
    low = torch.where(good, magnitude, torch.full_like(magnitude, torch.inf)).amin(0)
    same_phase = torch.ones_like(high, dtype=torch.bool)
    if data.is_complex():
        same_phase = (data - data[0]).abs().amax(0) == 0
    return (high <= low) & same_phase


def _within(value: Tensor, parameter: Parameter) -> Tensor:
    low, high = parameter.bounds
    return torch.isfinite(value) & (value >= low) & (value <= high)


def _parameter(model: SignalModel, name: str) -> Parameter:
    return next(p for p in model.parameters if p.name == name)


def foreground(data: Tensor) -> Tensor:
    """(*voxels) bool: where there is something to estimate, for images that come without a mask.

    A voxel counts if its brightest contrast reaches a tenth of the 99th percentile of all such maxima.

    Args:
        data: (contrast, *voxels).
    """
    strongest = torch.nan_to_num(data.abs(), nan=0.0, posinf=0.0).amax(0)
    flat = strongest.flatten()
    flat = flat[flat > 0]
    if not len(flat):
        return strongest > 0
    high = flat.kthvalue(max(1, int(0.99 * len(flat)))).values
    return strongest >= high / 10
