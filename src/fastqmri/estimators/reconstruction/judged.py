"""What every way from k-space straight to maps checks, and says of its maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fastqmri.core import DataError, Flag, Measurement, ParameterMaps
from fastqmri.estimators.judgement import (
    LEAST_PEAK_SNR,
    MISFIT_FACTOR,
    MISFIT_SHARE,
    at_bound,
    flagged,
    imprecise,
    outputs_of,
)
from fastqmri.physics.signal import SignalModel


@dataclass(frozen=True)
class Explanation:
    """Maps, and what they say of the images.

    Attributes:
        maps: the estimate.
        start: complex images (contrast, *voxels) that it started from.
        predicted: complex images (contrast, *voxels) that it stands for.
    """

    maps: ParameterMaps
    start: Tensor
    predicted: Tensor


def check_samples(measurement: Measurement) -> None:
    """Refuse k-space that is not finite.

    Raises:
        DataError: NaN or infinite samples.
    """
    if not bool(torch.isfinite(torch.view_as_real(measurement.data)).all()):
        raise DataError(
            "k-space with NaN or infinite samples",
            "one of them spoils every voxel.",
            "Set such samples to zero and leave them out of the sampling mask.",
        )


def usable_known(model: SignalModel, measurement: Measurement) -> tuple[Mapping[str, Tensor], Tensor]:
    """Known maps with their impossible values replaced by nominal ones, and where those are."""
    doubtful = torch.zeros(measurement.voxels, dtype=torch.bool)
    known = {}
    for parameter in model.parameters:
        if parameter.name not in measurement.known:
            continue
        value = measurement.known[parameter.name]
        low, high = parameter.bounds
        good = torch.isfinite(value) & (value >= low) & (value <= high)
        doubtful |= ~good
        known[parameter.name] = torch.where(good, value, parameter.nominal or 0.0)
    return known, doubtful


def judged_maps(
    model: SignalModel,
    measurement: Measurement,
    value: Tensor,
    deviation: Tensor,
    *,
    images: Tensor,
    residual: Tensor,
    noise: float,
    doubtful: Tensor,
    notes: tuple[str, ...],
    moving: Tensor | None = None,
    unfamiliar: Tensor | None = None,
) -> ParameterMaps:
    """Maps with the flags of their voxels.

    Args:
        model: as the measurement's images hold it.
        measurement: k-space.
        value: (output, *voxels), of `outputs_of`.
        deviation: the same of their standard deviations.
        images: (contrast, *voxels) that the values stand for.
        residual: (*voxels) root mean square misfit, in units of the noise of one channel.
        noise: standard deviation of one real channel of k-space.
        doubtful: (*voxels) bool, known quantities that were not usable.
        notes: for people.
        moving: (*voxels) bool, what has not settled.
        unfamiliar: (*voxels) bool, tissue that a network was not trained for.
    """
    outputs = outputs_of(model)
    value, deviation = value.float(), deviation.float()
    voxels = value.shape[1:]
    if measurement.mask is not None:
        doubtful = doubtful & measurement.mask
    failed = ~torch.isfinite(value).all(0)
    flags = flagged(failed if moving is None else failed | moving, Flag.NOT_CONVERGED)
    x = value[: len(model.estimated)]
    flags |= flagged(at_bound(model, x.flatten(1)).view(voxels), Flag.AT_BOUND)
    peak = images.abs().amax(0)
    weak = (peak < LEAST_PEAK_SNR * noise) | imprecise(outputs, value, deviation)
    flags |= flagged(weak, Flag.LOW_SNR)
    misfit = (residual > MISFIT_FACTOR * noise) & (residual > MISFIT_SHARE * peak)
    flags |= flagged(misfit, Flag.MODEL_MISFIT) | flagged(doubtful, Flag.INVALID_INPUT)
    if unfamiliar is not None:
        flags |= flagged(unfamiliar, Flag.OUTSIDE_TRAINING_RANGE)
    out = failed | doubtful
    if measurement.mask is not None:
        flags = torch.where(measurement.mask, flags, int(Flag.MASKED)).to(torch.uint8)
        out = out | ~measurement.mask
    residual = residual.masked_fill(out, torch.nan).float()
    return ParameterMaps(
        parameters=outputs,
        value=value.masked_fill(out, torch.nan),
        standard_deviation=deviation.masked_fill(out, torch.nan),
        flags=flags,
        affine=measurement.affine,
        residual=residual,
        noise=torch.full(voxels, noise),
        notes=notes,
    )
