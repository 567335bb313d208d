"""A network that maps k-space, as an estimator: card, network, refinement on the scan itself, flags."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fastqmri.core import DataError, Flag, Measurement, ParameterMaps, Progress
from fastqmri.estimators.judgement import (
    LEAST_PEAK_SNR,
    MISFIT_FACTOR,
    MISFIT_SHARE,
    flagged,
    outputs_of,
)
from fastqmri.estimators.reconstruction.images import encoding_of
from fastqmri.estimators.reconstruction.judged import check_samples
from fastqmri.estimators.reconstruction.model_based import Explanation, ModelBased
from fastqmri.estimators.reconstruction.noise import kspace_noise
from fastqmri.learning.cards import Card
from fastqmri.learning.kspace_features import FeatureMaker
from fastqmri.learning.kspace_inference import admitted
from fastqmri.learning.networks.map_correction import MapCorrection, relative_misfit, synthesised, variation
from fastqmri.learning.sampling import divided
from fastqmri.learning.simulation import Scans
from fastqmri.physics.encoding import CartesianEncoding
from fastqmri.physics.signal import SignalModel

_CHECK_EVERY = 10
_PATIENCE = 5
"""Checks without a new best after which refinement stops."""


@dataclass(frozen=True)
class _Given:
    """Images that are there already, as a reconstruction."""

    images: Tensor
    name: str = "network"
    references: tuple[str, ...] = ()

    def reconstruct(self, measurement: Measurement, *, progress: Progress | None = None) -> Tensor:
        """The images."""
        return self.images


@dataclass(frozen=True)
class KSpaceMaps:
    """Maps by a `MapCorrection`. An `Estimator`.

    With ``finish``, a few steps of Gauss-Newton on the maps follow (Eq. 8, the loss of RELAX without a network): where
    the data decide, the result is that of `ModelBased`, and so are standard deviations and flags.

    With ``steps``, the network's weights are first refined on the scan itself: k-space consistency with total
    variation, no labels, early stopping on held-out samples that take no part. Weights and not maps are moved, because
    a convolutional network changes all places alike and therefore follows noise later than maps of free voxels do.

    Source: Liu 2021 (RELAX), Eq. 12 of Zhu 2023; held-out samples after Yaman 2020.

    Attributes:
        network: trained.
        maker: of its features.
        card: of its weights.
        knee: of the second parameter's total variation, see `variation`.
        steps: of refinement, at most; 0 for the network as it is.
        finish: steps of Gauss-Newton on the maps afterwards, at most; 0 for none.
        learning_rate: of the refinement (Adam).
        tv: weight of the total variation, times the noise over the images' unit; of the relative data term.
        held_out: share of the samples, besides the middle of k-space, that decide when to stop.
        seed: of the held-out samples.
        progress: called with (step, steps).
        model: of the acquisition as it was made, close to the trained one; the trained one if None.
    """

    network: MapCorrection
    maker: FeatureMaker
    card: Card
    knee: float
    steps: int = 0
    finish: int = 0
    learning_rate: float = 3e-4
    tv: float = 1.0
    held_out: float = 0.1
    seed: int = 0
    progress: Progress | None = None
    model: SignalModel | None = None

    @property
    def _judge(self) -> SignalModel:
        """What images are made again by."""
        return self.maker.model if self.model is None else self.model

    def estimate(self, measurement: Measurement) -> ParameterMaps:
        """Estimate the parameters of every voxel inside the mask.

        Raises:
            AcquisitionError: the measurement was not made with this network's acquisition.
            DataError: images, k-space off the grid, or with NaN or infinite samples.
            ValidityError: a measurement outside the card.
        """
        return self.explain(measurement).maps

    def explain(self, measurement: Measurement) -> Explanation:
        """`estimate`, with the images that the maps stand for, and zero-filled ones."""
        scan, notes = self._admitted(measurement)
        network = self.network
        if self.steps:
            network, taken, before, after = self._refined(scan)
            notes = (
                *notes,
                f"{taken} steps of refinement on the scan itself; residual of held-out samples {100 * before:.2f} -> "
                f"{100 * after:.2f} %.",
            )
        with torch.no_grad():
            features = self.maker(scan)
            amplitude, value = network(features)
            images = synthesised(self._judge, amplitude, value, features, scan.known)[0]
            scaled = amplitude[0].abs() * features.scale[0]
        if self.finish:
            model_based = ModelBased(self._judge, iterations=self.finish, start=_Given(images))
            explained = model_based.explain(measurement)
            told = (*notes, f"Finished by the physics, from {self.card.name}.", *explained.maps.notes)
            return replace(explained, maps=replace(explained.maps, notes=told))
        maps = self._maps(measurement, scan, scaled, value[0], images, notes)
        return Explanation(maps, encoding_of(measurement).zero_filled(measurement.data), images)

    def _admitted(self, measurement: Measurement) -> tuple[Scans, tuple[str, ...]]:
        encoding = encoding_of(measurement)
        model = self.maker.model
        if not isinstance(encoding, CartesianEncoding) or encoding.sensitivities.ndim != 3:
            raise DataError(
                f"k-space of a {type(encoding).__name__}",
                f"{self.card.name} maps Cartesian slices with coil maps that all contrasts share.",
                f"Use {self.card.classical}.",
            )
        check_samples(measurement)
        notes = admitted(self.card, measurement)
        mask = encoding.mask.expand(len(measurement.data), *encoding.mask.shape[1:])
        noise = max(kspace_noise(measurement), 1e-12)
        rate = 1 / float(mask.float().mean())
        known = {}
        for parameter in model.parameters[2:]:
            given = measurement.known.get(parameter.name)
            filled = (
                torch.full(measurement.voxels, parameter.nominal or 0.0)
                if given is None
                else torch.where(
                    torch.isfinite(given) & (given > parameter.bounds[0]) & (given < parameter.bounds[1]),
                    given,
                    parameter.nominal or 0.0,
                ).float()
            )
            known[parameter.name] = filled[None]
        return Scans(
            kspace=(measurement.data * mask[:, None]).to(torch.complex64)[None],
            sensitivities=encoding.sensitivities.to(torch.complex64)[None],
            sampling=mask[None],
            noise=torch.tensor([noise], dtype=torch.float32),
            known=known,
            acceleration=torch.tensor([rate], dtype=torch.float32),
        ), notes

    def _refined(self, scan: Scans) -> tuple[MapCorrection, int, float, float]:
        """The network after refinement, steps taken, and the relative residual of held-out samples before and after."""
        generator = torch.Generator().manual_seed(self.seed)
        network = copy.deepcopy(self.network).requires_grad_(True)
        stays = divided(scan.sampling, self.held_out, generator)
        seen, missed = scan.kept(stays), scan.kept(scan.sampling & ~stays)
        features = self.maker(seen)
        optimiser = torch.optim.Adam(network.parameters(), lr=self.learning_rate)

        def held_out_residual() -> float:
            with torch.no_grad():
                amplitude, value = network(features)
                images = synthesised(self.maker.model, amplitude, value, features, scan.known)
                return float(relative_misfit(images, missed)) ** 0.5

        first = best = held_out_residual()
        kept = copy.deepcopy(network.state_dict())
        stale = taken = 0
        for step in range(self.steps):
            amplitude, value = network(features)
            images = synthesised(self.maker.model, amplitude, value, features, scan.known)
            loss = relative_misfit(images, seen)
            if self.tv:
                loss = loss + self.tv * variation(amplitude, value, self.knee, features.noise)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if (step + 1) % _CHECK_EVERY == 0 or step + 1 == self.steps:
                now = held_out_residual()
                stale += 1
                if now < best:
                    best, kept, stale, taken = now, copy.deepcopy(network.state_dict()), 0, step + 1
                if stale >= _PATIENCE:
                    break
            if self.progress:
                self.progress(step + 1, self.steps)
        network.load_state_dict(kept)
        return network.requires_grad_(False), taken, first, best

    def _maps(
        self,
        measurement: Measurement,
        scan: Scans,
        amplitude: Tensor,
        value: Tensor,
        images: Tensor,
        notes: tuple[str, ...],
    ) -> ParameterMaps:
        model, noise = self._judge, float(scan.noise[0])
        voxels = measurement.voxels
        rows = torch.stack([amplitude, value])
        known = {name: v[0] for name, v in scan.known.items()}
        x = torch.stack([*rows, *known.values()]).flatten(1)
        derived = model.derive(x)
        outputs = outputs_of(model)
        name = outputs[1].name
        share = self.card.expected_error.get(name, torch.nan)
        deviations = [share * rows[0], share * rows[1]]
        for _, gradient in derived:
            deviations.append((gradient[1] * share * x[1]).abs().view(voxels))
        values = torch.stack([*rows, *(v.view(voxels) for v, _ in derived)])
        missing = encoding_of(measurement).adjoint(scan.encoding(images[None])[0] - scan.kspace[0])
        density = scan.sampling[0].float().flatten(1).mean(1).view(-1, *(1,) * len(voxels))
        misfit = (missing.abs().square() / (2 * density)).mean(0).sqrt()
        peak = images.abs().amax(0)
        low, high = self.card.validity.tissue.get(name, model.parameters[1].bounds)
        failed = ~torch.isfinite(values).all(0)
        flags = flagged(failed, Flag.NOT_CONVERGED)
        flags |= flagged(peak < LEAST_PEAK_SNR * noise, Flag.LOW_SNR)
        flags |= flagged((misfit > MISFIT_FACTOR * noise) & (misfit > MISFIT_SHARE * peak), Flag.MODEL_MISFIT)
        edge = (value <= 1.1 * low) | (value >= 0.9 * high)
        flags |= flagged(edge, Flag.OUTSIDE_TRAINING_RANGE)
        lost = failed
        if measurement.mask is not None:
            flags = torch.where(measurement.mask, flags, int(Flag.MASKED)).to(torch.uint8)
            lost = lost | ~measurement.mask
        return ParameterMaps(
            parameters=outputs,
            value=values.masked_fill(lost, torch.nan).float(),
            standard_deviation=torch.stack(deviations).masked_fill(lost, torch.nan).float(),
            flags=flags,
            affine=measurement.affine,
            residual=misfit.masked_fill(lost, torch.nan).float(),
            noise=torch.full(voxels, noise),
            notes=(
                *notes,
                f"Standard deviations are the held-out error of {self.card.name}, the same share everywhere.",
            ),
        )
