"""What is wrong with the samples before any fit: NaN, zero, negative, constant, clipped; and how noisy they are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fastqmri.core import Flag, Measurement, Parameter
from fastqmri.physics.signal import SignalModel
from fastqmri.solvers import dispatch

_LEAST_CLIPPED = 4
_LEAST_DIFFERENCES = 100
_OTSU_BINS = 256
_NORMAL_QUARTILE = 0.6744897501960817


@dataclass(frozen=True)
class Screened:
    """One chunk of voxels, ready for a solver.

    Attributes:
        data: (contrast, voxel) as measured where all samples can be used, else float64 or complex128 with the
            unusable ones set to zero.
        weights: (contrast, voxel), 0 for unusable samples; None where all can be used.
        known: parameter name -> (voxel).
        flags: (voxel) uint8.
        usable: (voxel) bool: enough samples for an estimate.
        samples: (voxel) number of usable samples.
        peak: (voxel) largest magnitude of the usable samples.
    """

    data: Tensor
    weights: Tensor | None
    known: dict[str, Tensor]
    flags: Tensor
    usable: Tensor
    samples: Tensor
    peak: Tensor


def saturation_level(data: Tensor) -> float | None:
    """The value at which the receiver clips, if the data show it: the maximum, reached suspiciously often.

    Scanners clip at 2ⁿ - 1, where a few equal samples are enough; elsewhere a plateau must be as large as chance
    never makes it. Only real data are looked at.

    Args:
        data: (contrast, *voxels).
    """
    if data.is_complex():
        return None
    flat = data.reshape(len(data), -1)
    ends = dispatch.each(lambda channel: (float(channel.amax()), float(channel.amin())), list(flat))
    extremes = torch.tensor(list(ends), dtype=torch.float64)
    tops = extremes[:, 0]
    if bool(torch.isfinite(extremes).all()):
        channels = [flat[i] for i in (tops == tops.max()).nonzero()[:, 0].tolist()]
        total = flat.numel()
    else:
        channels = [channel[torch.isfinite(channel)] for channel in flat]
        total = sum(len(channel) for channel in channels)
    highest = max((float(channel.max()) for channel in channels if len(channel)), default=0.0)
    if highest <= 0:
        return None
    count = sum(int((channel == highest).sum()) for channel in channels)
    is_full_scale = highest == round(highest) and highest >= 255 and math.log2(highest + 1).is_integer()
    needed = _LEAST_CLIPPED if is_full_scale else max(50, total // 1000)
    return highest if needed <= count < total // 2 else None


def screen(
    measurement: Measurement,
    model: SignalModel,
    index: Tensor | slice,
    saturation: float | None,
    known: dict[str, Tensor],
) -> Screened:
    """Take the voxels ``index`` out of a measurement, and judge their samples.

    Args:
        measurement: contrasts on voxels.
        model: decides which samples are possible, and how many a fit needs.
        index: (voxel) flat indices, or the slice of them.
        saturation: clipping level, or None.
        known: flat maps of the known parameters.
    """
    raw = measurement.data.reshape(measurement.data.shape[0], -1)[:, index]
    judged = _judge(raw, model.non_negative, saturation)
    values = {name: array[index].double() for name, array in known.items()}
    bad_known = torch.zeros(raw.shape[1], dtype=torch.bool)
    for name, value in values.items():
        bad_known |= ~_within(value, _parameter(model, name))
    needed = model.unknowns // (2 if model.complex_valued else 1)
    usable = (judged.samples >= max(needed, 2)) & ~bad_known
    usable &= (judged.peak > 0) if model.may_be_constant else ~judged.constant
    judged.flags[~usable] |= int(Flag.INVALID_INPUT)
    good = judged.good
    weights = None if good is None else good.double()
    return Screened(judged.data, weights, values, judged.flags, usable, judged.samples, judged.peak)


@dataclass(frozen=True)
class _Judged:
    """Samples of some voxels with the verdict on each; ``good`` is None where all are."""

    data: Tensor
    good: Tensor | None
    flags: Tensor
    samples: Tensor
    constant: Tensor
    peak: Tensor


def _judge(raw: Tensor, non_negative: bool, saturation: float | None) -> _Judged:
    """Judge all voxels by their extremes, and those with anything wrong sample by sample."""
    if raw.is_complex() or not len(raw):
        return _judge_samples(raw, non_negative, saturation)
    low, high = raw.amin(0), raw.amax(0)
    whole = torch.isfinite(high) & (low > 0 if non_negative else torch.isfinite(low))
    if saturation is not None:
        whole &= (high < saturation) & (low > -saturation)
    # equal magnitudes: all the same sample, or nothing but that sample and its negative
    even = (low == high) | (low == -high)
    doubtful = (~whole | even).nonzero()[:, 0]
    peak = (high if non_negative else torch.maximum(high, -low)).double()
    samples = torch.full((raw.shape[1],), len(raw), dtype=torch.int64)
    flags = torch.zeros(raw.shape[1], dtype=torch.uint8)
    constant = torch.zeros(raw.shape[1], dtype=torch.bool)
    if not len(doubtful):
        return _Judged(raw, None, flags, samples, constant, peak)
    data = raw.double()
    part = _judge_samples(raw[:, doubtful], non_negative, saturation)
    data[:, doubtful] = part.data
    for whole_batch, some in ((flags, part.flags), (samples, part.samples), (constant, part.constant)):
        whole_batch[doubtful] = some
    peak[doubtful] = part.peak
    good = None
    if part.good is not None:
        good = torch.ones(raw.shape, dtype=torch.bool)
        good[:, doubtful] = part.good
    return _Judged(data, good, flags, samples, constant, peak)


def _judge_samples(raw: Tensor, non_negative: bool, saturation: float | None) -> _Judged:
    data = raw.to(torch.complex128 if raw.is_complex() else torch.float64)
    finite = torch.isfinite(data)
    good = finite & (data > 0) if non_negative and not data.is_complex() else finite
    data = torch.where(good, data, torch.zeros_like(data))
    flags = torch.zeros(raw.shape[1], dtype=torch.uint8)
    flags[~good.all(0)] |= int(Flag.INVALID_INPUT)
    if saturation is not None:
        clipped = good & (data.abs() >= saturation)
        flags[clipped.any(0)] |= int(Flag.SATURATED)
        good = good & ~clipped
        data = torch.where(good, data, torch.zeros_like(data))
    constant = _constant(data, good)
    peak = data.abs().amax(0)
    return _Judged(data, None if bool(good.all()) else good, flags, good.sum(0), constant, peak)


def image_noise(measurement: Measurement) -> float | None:
    """Noise of one channel from the images themselves, where the fit leaves no residual to judge it by.

    The diagonal second difference of neighbouring pixels holds little but noise; its median absolute value is
    robust against edges. The least of the contrasts is taken: structure only ever adds. None where the images
    have too few neighbours (or no second axis).
    """
    data = measurement.data
    if data.ndim < 3 or min(data.shape[1:3]) < 2:
        return None
    inside = (
        torch.ones(measurement.voxels, dtype=torch.bool) if measurement.mask is None else measurement.mask
    )
    estimates = []
    for contrast in data:
        usable = inside & torch.isfinite(contrast) & (contrast.abs() > 0)
        value = torch.where(usable, contrast, torch.zeros_like(contrast))
        parts = [value.real, value.imag] if value.is_complex() else [value]
        corners = [
            (slice(None, -1), slice(None, -1)),
            (slice(1, None), slice(None, -1)),
            (slice(None, -1), slice(1, None)),
            (slice(1, None), slice(1, None)),
        ]
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

    A voxel counts if its mean over the contrasts exceeds half of Otsu's threshold between dark and bright.

    Args:
        data: (contrast, *voxels).
    """
    mean = torch.nan_to_num(data.abs(), nan=0.0, posinf=0.0).mean(0)
    positive = mean[mean > 0].double()
    if not len(positive):
        return mean > 0
    # a few very bright voxels would pull the threshold up
    bright = positive.kthvalue(max(1, int(0.98 * len(positive)))).values
    return mean >= _otsu(positive.clamp_max(bright)) / 2


def _otsu(values: Tensor) -> float:
    """The threshold that parts values into the two classes of least spread within (Otsu 1979)."""
    low, high = float(values.min()), float(values.max())
    if low == high:
        return low
    counts = torch.histc(values, _OTSU_BINS, low, high).double()
    step = (high - low) / _OTSU_BINS
    centres = low + step * (torch.arange(_OTSU_BINS, dtype=torch.float64) + 0.5)
    below, moment = counts.cumsum(0), (counts * centres).cumsum(0)
    total, mean = below[-1], moment[-1]
    between = (mean * below / total - moment) ** 2 / (below * (total - below)).clamp_min(1)
    return float(centres[between[:-1].argmax()])
