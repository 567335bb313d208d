"""A network that takes k-space to parameters, as an estimator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fastqmri.core import Measurement, ParameterMaps
from fastqmri.estimators.judgement import check_belongs
from fastqmri.estimators.reconstruction.images import encoding_of
from fastqmri.estimators.reconstruction.judged import (
    Explanation,
    check_samples,
    judged_maps,
    usable_known,
)
from fastqmri.estimators.reconstruction.model_based import ModelBased
from fastqmri.estimators.reconstruction.noise import kspace_noise
from fastqmri.estimators.reconstruction.unknowns import Unknowns
from fastqmri.learning.cards import Card
from fastqmri.learning.validity import judge, refuse_outside
from fastqmri.physics.encoding import CartesianEncoding, LinearOperator
from fastqmri.physics.signal import SignalModel

_PROBES = 2
_LEAST = 1e-3
"""Smallest relative standard deviation that a held-out error may promise."""


@dataclass(frozen=True)
class Found:
    """What a network says of one slice.

    Attributes:
        unknowns: what the rows of v mean.
        v: (row, *voxels): complex amplitude in units of the data, and scaled parameters.
        start: complex images (contrast, *voxels) that the network started from.
    """

    unknowns: Unknowns
    v: Tensor
    start: Tensor


KSpaceNetwork = Callable[[Sequence[Measurement], Sequence[float]], Sequence[Found]]
"""Measurements of one matrix, with usable known maps, and the noise of each: what is found of each."""


@dataclass(frozen=True)
class KSpaceInference:
    """A network from k-space to maps, judged like every other estimate. An `Estimator`.

    Every voxel's images are made again from its parameters and compared with the measured ones. Standard deviations
    are the relative errors that the network had on objects it was not trained on: they do not know how well a voxel
    is determined in this scan; those of physics finishing do.

    Attributes:
        network: k-space to scaled unknowns.
        model: A and its acquisition.
        errors: parameter name -> relative standard deviation, from held-out data.
        ranges: parameter name -> values that training had; others are flagged.
        finishing: Gauss-Newton steps of the model-based reconstruction from what the network found; 0 for none.
        name: for ``--method`` and the records.
        references: bibliography keys.
        notes: for every map.
        admitted: looks at a measurement before it is mapped; gives notes for its maps, or refuses.
    """

    network: KSpaceNetwork
    model: SignalModel
    errors: Mapping[str, float]
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    finishing: int = 0
    name: str = "network"
    references: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    admitted: Callable[[Measurement], tuple[str, ...]] | None = None

    def estimate(self, measurement: Measurement) -> ParameterMaps:
        """Estimate the parameters of every voxel inside the mask.

        Raises:
            AcquisitionError: the measurement was not made with this model's acquisition.
            UnknownNameError: a known map that the model does not have.
            DataError: images, or k-space with NaN or infinite samples.
        """
        return self.explain(measurement).maps

    def explain(self, measurement: Measurement) -> Explanation:
        """`estimate`, with the images that the maps stand for."""
        return self.explain_all([measurement])[0]

    def explain_all(self, measurements: Sequence[Measurement]) -> list[Explanation]:
        """`explain` of several slices of one matrix, through the network together, which takes less time for each."""
        usable, lost, warnings = [], [], []
        for measurement in measurements:
            encoding_of(measurement)
            check_samples(measurement)
            if self.admitted is not None:
                warnings.append(self.admitted(measurement))
            check_belongs(measurement, self.model)
            known, doubtful = usable_known(self.model, measurement)
            usable.append(known)
            lost.append(doubtful)
        noise = [kspace_noise(m) for m in measurements]
        with torch.inference_mode():
            found = self.network(
                [
                    Measurement(m.data, m.acquisition, m.mask, known, level, encoding=m.encoding)
                    for m, known, level in zip(measurements, usable, noise, strict=True)
                ],
                noise,
            )
        return [
            self._judged(m, f, n, d, w)
            for m, f, n, d, w in zip(
                measurements, found, noise, lost, warnings or [()] * len(found), strict=True
            )
        ]

    def _judged(
        self,
        measurement: Measurement,
        found: Found,
        noise: float,
        doubtful: Tensor,
        warnings: tuple[str, ...],
    ) -> Explanation:
        if self.finishing:
            reconstruction = ModelBased(self.model, iterations=self.finishing, draws=0)
            return reconstruction.explain(measurement, begin=(found.unknowns, found.v))
        encoding = encoding_of(measurement)
        x = found.unknowns.parameters(found.v)
        images = (found.unknowns.amplitude(found.v) * found.unknowns.basis(found.v).signal).to(
            measurement.data.dtype
        )
        residual = encoding.gram(images) - encoding.adjoint(measurement.data)
        density = mean_diagonal(encoding, images).to(images.real.dtype)
        size = (residual.real.square() + residual.imag.square()) / (
            2 * density.view(-1, *(1,) * (x.ndim - 1))
        )
        rows = list(self.model.estimated)
        values = list(x)
        spreads = [
            max(self.errors.get(self.model.parameters[i].name, 1.0), _LEAST) * row.abs()
            for i, row in zip(rows, x, strict=True)
        ]
        complete = self.model.complete(x, found.unknowns.known).flatten(1)
        deviations = list(spreads)
        for value, gradient in self.model.derive(complete):
            values.append(value.view(x.shape[1:]))
            moved = gradient[rows].view(x.shape) * torch.stack(spreads)
            deviations.append(moved.square().sum(0).sqrt())
        unfamiliar = torch.zeros(x.shape[1:], dtype=torch.bool)
        for i, row in zip(rows, x, strict=True):
            low, high = self.ranges.get(self.model.parameters[i].name, (-torch.inf, torch.inf))
            unfamiliar |= (row < low) | (row > high)
        source = "as given" if measurement.noise is not None else "from the rim of k-space"
        maps = judged_maps(
            self.model,
            measurement,
            torch.stack(values),
            torch.stack(deviations),
            images=images,
            residual=size.mean(0).sqrt(),
            noise=noise,
            doubtful=doubtful,
            unfamiliar=unfamiliar,
            notes=(
                f"Noise standard deviation of k-space {source}: {noise:.4g}.",
                "Standard deviations are the network's relative errors on held-out objects.",
                *self.notes,
                *warnings,
            ),
        )
        return Explanation(maps, found.start, images)


def admitted(card: Card, measurement: Measurement) -> tuple[str, ...]:
    """Hold k-space against the card of a network: protocol, matrix, coils, acceleration and SNR.

    The SNR is the mean of the brightest zero-filled image over the noise; off the grid there is no acceleration to
    judge.

    Args:
        card: of the network.
        measurement: k-space of finite samples.

    Raises:
        ValidityError: a measurement outside the card.
    """
    encoding = encoding_of(measurement)
    brightest = encoding.zero_filled(measurement.data).abs().amax(0)
    if measurement.mask is not None:
        brightest = brightest[measurement.mask]
    sampled = encoding.mask.float().mean() if isinstance(encoding, CartesianEncoding) else None
    judgement = judge(
        card.validity,
        measurement,
        snr=float(brightest.mean()) / max(kspace_noise(measurement), 1e-12),
        acceleration=None if sampled is None else 1 / float(sampled),
        coils=None if encoding.range is None else float(encoding.range[0]),
    )
    return refuse_outside(card.name, judgement, card.classical)


def mean_diagonal(encoding: LinearOperator, images: Tensor) -> Tensor:
    """(contrast,) mean diagonal of E^H E: the sampled fraction, times the coils' squared sum.

    Exact for Cartesian scans of unit coils, from random probes elsewhere.
    """
    if isinstance(encoding, CartesianEncoding):
        mask = encoding.mask.expand(len(images), *encoding.mask.shape[1:])
        maps = encoding.sensitivities
        energy = (maps.real.square() + maps.imag.square()).sum(-images.ndim)
        return mask.flatten(1).float().mean(1) * energy.flatten(-images.ndim + 1).mean(-1)
    generator = torch.Generator().manual_seed(0)
    total = torch.zeros(len(images), dtype=images.real.dtype)
    for _ in range(_PROBES):
        probe = torch.randn(images.shape, dtype=images.dtype, generator=generator)
        total += (probe.conj() * encoding.gram(probe)).real.flatten(1).sum(1)
    return total / _PROBES / images[0].numel()
