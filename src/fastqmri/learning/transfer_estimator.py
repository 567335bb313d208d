"""Networks of quantitative magnetisation transfer as estimators that check their card."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from fastqmri.core import (
    Acquisition,
    DataError,
    Flag,
    Measurement,
    ParameterMaps,
    QuantitativeMagnetizationTransfer,
)
from fastqmri.estimators.judgement import (
    LEAST_PEAK_SNR,
    MISFIT_FACTOR,
    MISFIT_SHARE,
    flagged,
    imprecise,
    outputs_of,
)
from fastqmri.estimators.least_squares import least_squares
from fastqmri.learning.cards import Card
from fastqmri.learning.validity import judge, refuse_outside
from fastqmri.learning.voxelwise_inference import VoxelNetwork, voxelwise_network
from fastqmri.physics.signal import RamaniSignal, SignalModel
from fastqmri.solvers.linear import inverse

_ONE_FREE = 0.4549  # median of chi-squared with one degree of freedom


@dataclass(frozen=True)
class TransferEstimator:
    """A voxel-wise network for images relative to one without saturation. An `Estimator`.

    Attributes:
        network: of this protocol.
        card: of its weights.
        water: how the model takes T2f.
        finishing: least-squares steps that follow, at most.
        progress: called with (voxels done, voxels in all).
    """

    network: VoxelNetwork
    card: Card
    water: Literal["free", "measured"] = "measured"
    finishing: int = 0
    progress: Callable[[int, int], None] | None = None

    def estimate(self, measurement: Measurement) -> ParameterMaps:
        """F, kr, T2r (and T2f where it is not known), kf and R1f.

        Raises:
            ValidityError: a measurement outside the card.
            DataError: no map of a quantity that the network must know.
        """
        notes = checked(measurement, self.card, [s.name for s in self.network.known])
        acquisition = measurement.acquisition
        assert isinstance(acquisition, QuantitativeMagnetizationTransfer)
        model = RamaniSignal(acquisition, normalised=True, water=self.water)
        estimator = voxelwise_network(
            model, self.network, self.card.name, finishing=self.finishing, progress=self.progress
        )
        maps = estimator.estimate(measurement)
        return dataclasses.replace(maps, notes=maps.notes + notes)


@dataclass(frozen=True)
class TwoStageEstimator:
    """Completes images by a network, and maps all of them by another one or by least squares. An `Estimator`.

    Slices are those of the last voxel axis, where there are three. Standard deviations (Cramér-Rao) and misfit are
    those of the measured images alone: completed ones hold no further measurement.

    Attributes:
        network: measured images (slice, image, x, y) and scaled known maps to all images.
        fit: voxel-wise network of all images; its known maps are also the first one's.
        card: of the weights.
        complete: acquisition of all images.
        measured: which of them are measured.
        mapper: ``network``, or ``nlls``.
        progress: called with (voxels done, voxels in all).
    """

    network: nn.Module
    fit: VoxelNetwork
    card: Card
    complete: QuantitativeMagnetizationTransfer
    measured: tuple[int, ...]
    mapper: Literal["network", "nlls"] = "network"
    progress: Callable[[int, int], None] | None = None

    def completed(self, measurement: Measurement) -> Measurement:
        """The measurement with all images; those that were measured stay as they are."""
        inside = _inside(measurement)
        images = torch.where(inside, measurement.data.float(), 0.0)
        known = torch.stack([s.to_unit(measurement.known[s.name].float()) for s in self.fit.known])
        known = torch.where(inside, known, 0.0)
        with torch.no_grad():
            found = self.network(_slices(images), _slices(known))
        data = _volume(found, measurement.voxels)
        data[list(self.measured)] = measurement.data.float()
        return dataclasses.replace(measurement, data=data, acquisition=self.complete)

    def estimate(self, measurement: Measurement) -> ParameterMaps:
        """F, kr, T2r, kf and R1f.

        Raises:
            ValidityError: a measurement outside the card.
            DataError: no map of a quantity that the networks must know, or other than slices.
        """
        notes = checked(measurement, self.card, [s.name for s in self.fit.known])
        if len(measurement.voxels) not in (2, 3):
            raise DataError(
                f"images of {len(measurement.voxels)} axes",
                "the completion looks at the neighbours of a voxel in its slice.",
                "Give slices or volumes.",
            )
        all_images = self.completed(measurement)
        model = RamaniSignal(self.complete, normalised=True, water="measured")
        if self.mapper == "network":
            estimator = voxelwise_network(
                model, self.fit, self.card.name, finishing=0, progress=self.progress
            )
        else:
            estimator = least_squares(model, progress=self.progress)
        maps = estimator.estimate(all_images)
        acquisition = measurement.acquisition
        assert isinstance(acquisition, QuantitativeMagnetizationTransfer)
        own = RamaniSignal(acquisition, normalised=True, water="measured")
        remarks = (
            f"{len(self.complete.offset) - len(self.measured)} of {len(self.complete.offset)} images were completed "
            f"by a network, then mapped by {'a network' if self.mapper == 'network' else 'least squares'}; "
            "misfit and standard deviations are those of the measured images.",
        )
        return judged(maps, measurement, own, remarks + notes)


def checked(measurement: Measurement, card: Card, needed: list[str]) -> tuple[str, ...]:
    """Remarks on a measurement near the edge of a card.

    The excitation and the delay after the pulse play no part in the signal, and are not compared.

    Raises:
        ValidityError: it lies outside.
        DataError: a needed map is missing, or the images are not relative to one without saturation.
    """
    acquisition = _plain(measurement.acquisition)
    snr = None if not measurement.noise else 1 / measurement.noise
    notes = refuse_outside(
        card.name,
        judge(card.validity, dataclasses.replace(measurement, acquisition=acquisition), snr=snr),
        card.classical,
    )
    missing = [name for name in needed if name not in measurement.known and name not in ("B1", "B0")]
    if missing:
        raise DataError(
            f"no map of {' and '.join(missing)}",
            f"{card.name} needs it beside the images.",
            f"Give it (--{missing[0].lower()}), or use {card.classical}.",
        )
    inside = measurement.data[:, _inside(measurement)]
    brightest = float(inside.amax(0).median()) if inside.numel() else 1.0
    if not 0.5 < brightest < 1.3:
        raise DataError(
            f"images whose brightest has a median of {brightest:.4g}",
            f"{card.name} takes images that were divided by one without saturation, which are at most one.",
            "Divide the images by it, or use the classical fit without --normalised.",
        )
    return notes


def _plain(acquisition: Acquisition) -> Acquisition:
    if not isinstance(acquisition, QuantitativeMagnetizationTransfer):
        return acquisition
    return acquisition.model_copy(update={"flip_angle": None, "delay": 0.0})


def judged(
    maps: ParameterMaps, measurement: Measurement, model: SignalModel, notes: tuple[str, ...]
) -> ParameterMaps:
    """Maps with standard deviations, residual and flags that only the measured images decide.

    Args:
        maps: of this model's parameters, whatever they were made from.
        measurement: the images that were measured.
        model: of those images.
        notes: replace those of the maps.
    """
    here = maps.estimated
    known = {name: value[here].double() for name, value in measurement.known.items()}
    rows = [model.parameters[i].name for i in model.estimated]
    x = model.complete(torch.stack([maps[name].value[here].double() for name in rows]), known)
    signal, jacobian = model.evaluate(x)
    data = measurement.data[:, here].double()
    residual = (data - signal).square().sum(0)
    free = jacobian[:, list(model.estimated)]
    covariance = inverse(torch.einsum("civ,cjv->ijv", free, free))
    freedom = max(len(data) - model.unknowns, 1)
    level = measurement.noise or float((residual.median() / _ONE_FREE / freedom).sqrt())
    variances = list(covariance.diagonal().T.clamp_min(0))
    for _, gradient in model.derive(x):
        g = gradient[list(model.estimated)]
        variances.append(torch.einsum("iv,ijv,jv->v", g, covariance, g).clamp_min(0))
    deviation = torch.full_like(maps.value, torch.nan)
    deviation[:, here] = (level * torch.stack(variances).sqrt()).float()
    rms = torch.full(maps.flags.shape, torch.nan)
    rms[here] = (residual / len(data)).sqrt().float()
    keep = Flag.AT_BOUND | Flag.INVALID_INPUT | Flag.MASKED | Flag.SATURATED | Flag.OUTSIDE_TRAINING_RANGE
    flags = maps.flags & int(keep | Flag.NOT_CONVERGED)
    peak = data.amax(0)
    size = (residual / freedom).sqrt()
    misfit = (size > MISFIT_FACTOR * level) & (size > MISFIT_SHARE * peak)
    weak = peak < LEAST_PEAK_SNR * level
    weak |= imprecise(outputs_of(model), maps.value[:, here], deviation[:, here])
    flags[here] |= flagged(misfit, Flag.MODEL_MISFIT) | flagged(weak, Flag.LOW_SNR)
    noise = torch.full(maps.flags.shape, level)
    told = "as given" if measurement.noise else "from the misfit of the measured images"
    text = f"Noise standard deviation {told}: {level:.4g}."
    return dataclasses.replace(
        maps, standard_deviation=deviation, flags=flags, residual=rms, noise=noise, notes=(text, *notes)
    )


def _inside(measurement: Measurement) -> Tensor:
    inside = torch.isfinite(measurement.data).all(0)
    for value in measurement.known.values():
        inside = inside & torch.isfinite(value)
    return inside if measurement.mask is None else inside & measurement.mask


def _slices(x: Tensor) -> Tensor:
    """(slice, channel, x, y) of (channel, x, y) or (channel, x, y, slice)."""
    return x[None] if x.ndim == 3 else x.movedim(-1, 0)


def _volume(x: Tensor, voxels: tuple[int, ...]) -> Tensor:
    """The reverse of `_slices`."""
    return x[0].clone() if len(voxels) == 2 else x.movedim(0, -1).contiguous()
