"""How much noise k-space holds, and how much of it arrives in images: what regularisation is measured by."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fastqmri.core import DataError, Measurement
from fastqmri.estimators.reconstruction.images import encoding_of
from fastqmri.physics.encoding import LinearOperator

_RAYLEIGH_MEDIAN = math.sqrt(2 * math.log(2))
_OUTER = 0.15
_LEAST_SAMPLES = 64


def kspace_noise(measurement: Measurement) -> float:
    """Standard deviation of the noise of one real channel of k-space.

    The measurement's own, or else from the samples farthest from the centre of k-space, 15 % of those measured: there
    the median magnitude of noise is sqrt(2 ln 2) σ. Contrasts with little signal show the noise best, so that the
    lowest result of all contrasts counts. What the object has at the rim of k-space is taken for noise too.

    Raises:
        DataError: images, or k-space without a single measured sample.
    """
    encoding = encoding_of(measurement)
    if measurement.noise is not None:
        return float(measurement.noise)
    magnitude = measurement.data.abs()
    distance = sample_distance(encoding, magnitude)[:, None]
    levels = []
    for samples, away in zip(magnitude, distance.expand_as(magnitude), strict=True):
        measured = samples > 0
        samples, away = samples[measured], away[measured]
        if len(samples):
            count = min(len(samples), max(_LEAST_SAMPLES, int(_OUTER * len(samples))))
            outer = samples[away.topk(count).indices]
            levels.append(float(outer.median()) / _RAYLEIGH_MEDIAN)
    if not levels:
        raise DataError(
            "k-space in which every sample is zero",
            "nothing was measured.",
            "Check the raw data and the mask.",
        )
    return min(levels)


def sample_distance(encoding: LinearOperator, samples: Tensor) -> Tensor:
    """(contrast or 1, *samples) distance from the centre of k-space, as a share of that of the middle of a side.

    Args:
        encoding: E.
        samples: (contrast, coil, *samples) real, whose shape and precision it takes.
    """
    trajectory = next(
        (b for name, b in encoding.named_buffers() if name.split(".")[-1] == "trajectory"), None
    )
    if trajectory is not None:
        away = trajectory.norm(dim=-1) / math.pi
        return away if away.ndim > 1 else away[None]
    sides = samples.shape[2:]
    axes = [((torch.arange(n) - n // 2) / max(n / 2, 1)).to(samples) for n in sides]
    squares = [axis.square().view(-1, *(1,) * (len(sides) - i - 1)) for i, axis in enumerate(axes)]
    return torch.stack(torch.broadcast_tensors(*squares)).sum(0).sqrt()[None]
