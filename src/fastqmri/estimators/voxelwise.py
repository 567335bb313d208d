"""The frame of every voxel-wise estimator: screening, chunks, progress, noise, standard deviations, flags."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fastqmri.core import (
    AcquisitionError,
    DataError,
    Flag,
    Measurement,
    ParameterMaps,
    UnknownNameError,
)
from fastqmri.estimators import rician
from fastqmri.estimators.screening import Screened, image_noise, saturation_level, screen
from fastqmri.physics.signal import SignalModel
from fastqmri.solvers.solution import Solution

CHUNK = 1 << 15
Solve = Callable[[SignalModel, Tensor, "Tensor | None", "dict[str, Tensor]"], Solution]
"""(model, data (contrast, voxel), weights or None, known maps (voxel)) -> the model's estimated parameters."""

_LEAST_PEAK_SNR = 3.0
_MISFIT_FACTOR = 5.0
_MISFIT_SHARE = 0.05
_PRIOR_FREEDOM = 4.0
_EDGE = 1e-5


@dataclass(frozen=True)
class Voxelwise:
    """Runs a batch solver over all voxels of a measurement. An `Estimator`.

    Results do not depend on ``chunk``, which bounds the memory.

    Attributes:
        model: A and its acquisition.
        solve: the solver of a batch.
        name: of the method, for the records.
        noise: ``gaussian``, or ``rician`` for magnitude images whose weak samples are lifted by noise; the
            latter needs the noise level, from the measurement or from the background of the images.
        chunk: voxels a batch.
        progress: called with (voxels done, voxels in all).
    """

    model: SignalModel
    solve: Solve
    name: str
    noise: str = "gaussian"
    chunk: int = CHUNK
    progress: Callable[[int, int], None] | None = None

    def estimate(self, measurement: Measurement) -> ParameterMaps:
        """Estimate the parameters of every voxel inside the mask.

        Raises:
            AcquisitionError: the measurement was not made with this model's acquisition.
            UnknownNameError: a known map that the model does not have.
            DataError: Rician fitting without a noise level.
        """
        self._check(measurement)
        work = _Workspace(self.model, measurement)
        known = {name: value.reshape(-1) for name, value in measurement.known.items()}
        saturation = measurement.saturation
        if saturation is None:
            saturation = saturation_level(measurement.data)
        sigma = self._rician_noise(measurement) if self.noise == "rician" else None
        inside = work.inside
        for begin in range(0, len(inside), self.chunk):
            index = inside[begin : begin + self.chunk]
            batch = screen(measurement, self.model, index, saturation, known)
            self._estimate_batch(batch, index, work, sigma)
            if self.progress:
                self.progress(min(begin + self.chunk, len(inside)), len(inside))
        return work.finish(measurement, saturation)

    def _estimate_batch(self, batch: Screened, index: Tensor, work: _Workspace, sigma: float | None) -> None:
        work.flags[index] |= batch.flags
        chosen = batch.usable.nonzero()[:, 0]
        if not len(chosen):
            return
        data = batch.data[:, chosen]
        weights = None if batch.weights is None else batch.weights[:, chosen]
        if weights is not None and bool(weights.all()):
            weights = None
        known = {name: value[chosen] for name, value in batch.known.items()}
        solution = self.solve(self.model, data, weights, known)
        if sigma is not None:
            solution = rician.refine(self.model, self.solve, solution, data, weights, known, sigma)
        work.store(index[chosen], batch.samples[chosen], data, solution, known)

    def _check(self, measurement: Measurement) -> None:
        if measurement.acquisition != self.model.acquisition:
            raise AcquisitionError(
                f"a measurement made with {measurement.acquisition!r}",
                f"this estimator was built for {self.model.acquisition!r}.",
                "Build the estimator from the measurement's acquisition.",
            )
        allowed = {p.name for p in self.model.parameters if p.nominal is not None}
        unknown = set(measurement.known) - allowed
        if unknown:
            raise UnknownNameError(
                f"a map of {', '.join(sorted(unknown))}",
                f"{type(self.model).__name__} has no such known quantity.",
                f"It takes {', '.join(sorted(allowed)) or 'none'}.",
            )
        if measurement.data.is_complex() != self.model.complex_valued:
            held, wanted = (
                ("complex", "real") if measurement.data.is_complex() else ("real", "complex")
            )
            raise DataError(
                f"{held} images for {type(self.model).__name__}",
                f"this model describes {wanted} images.",
                "Take the magnitude, give magnitude and phase, or choose the other form of the model.",
            )

    def _rician_noise(self, measurement: Measurement) -> float:
        if measurement.data.is_complex():
            raise DataError("complex images", "their noise is Gaussian already.", "Leave the noise model at gaussian.")
        sigma = measurement.noise if measurement.noise is not None else rician.background_noise(measurement)
        if sigma is None or not sigma > 0:
            raise DataError(
                "no noise level for the Rician fit",
                "none was given, and the images have no signal-free background to measure it in.",
                "Give the noise standard deviation, in units of the images.",
            )
        return sigma


class _Workspace:
    """Flat results of all voxels, filled chunk by chunk."""

    def __init__(self, model: SignalModel, measurement: Measurement) -> None:
        self.model = model
        self.outputs = tuple(model.parameters[i] for i in model.estimated) + tuple(
            d.parameter for d in model.derived
        )
        voxels = math.prod(measurement.voxels)
        inside = torch.ones(voxels, dtype=torch.bool)
        if measurement.mask is not None:
            inside = measurement.mask.reshape(-1).bool()
        self.inside = inside.nonzero()[:, 0]
        self.flags = torch.zeros(voxels, dtype=torch.uint8)
        self.flags[~inside] = int(Flag.MASKED)
        self.value = torch.full((len(self.outputs), voxels), torch.nan)
        self.unit_deviation = torch.full((len(self.outputs), voxels), torch.nan)
        self.residual = torch.full((voxels,), torch.nan, dtype=torch.float64)
        self.samples = torch.zeros(voxels, dtype=torch.int32)
        self.peak = torch.full((voxels,), torch.nan)

    def store(
        self, index: Tensor, samples: Tensor, data: Tensor, solution: Solution, known: dict[str, Tensor]
    ) -> None:
        """Keep values, standard deviations per unit noise, and what the flags will need."""
        model = self.model
        x = solution.x
        values = [*x]
        variances = [solution.covariance[i, i] for i in range(len(x))]
        full = model.complete(x, known)
        rows = list(model.estimated)
        for derived in model.derived:
            value, gradient = derived.evaluate(full)
            g = gradient[rows]
            values.append(value)
            variances.append(torch.einsum("iv,ijv,jv->v", g, solution.covariance, g))
        value = torch.stack(values)
        failed = ~torch.isfinite(value).all(0)
        self.value[:, index] = value.float()
        self.unit_deviation[:, index] = torch.stack(variances).clamp_min(0).sqrt().float()
        self.residual[index] = solution.residual
        self.samples[index] = samples.int() * (2 if model.complex_valued else 1)
        self.peak[index] = data.abs().amax(0).float()
        self.flags[index] |= _flag(~solution.converged | failed, Flag.NOT_CONVERGED)
        self.flags[index] |= _flag(_at_bound(model, x), Flag.AT_BOUND)
        self.value[:, index[failed]] = torch.nan

    def finish(self, measurement: Measurement, saturation: float | None) -> ParameterMaps:
        """Find the noise, scale the standard deviations, set the remaining flags."""
        freedom = (self.samples - len(self.model.estimated)).clamp_min(0)
        estimated = torch.isfinite(self.value).all(0)
        level, notes = self._noise_level(measurement, freedom, estimated)
        sigma = torch.full_like(self.residual, torch.nan if level is None else level)
        if measurement.noise is None and level is not None:
            # a voxel's own residual counts as far as its degrees of freedom carry it (Smyth 2004)
            pooled = (_PRIOR_FREEDOM * level**2 + self.residual) / (_PRIOR_FREEDOM + freedom)
            sigma = torch.where(freedom > 0, pooled.sqrt(), sigma)
        deviation = self.unit_deviation * sigma.float()
        rms = (self.residual / self.samples.clamp_min(1)).sqrt()
        if level is not None:
            self._flag_by_noise(level, sigma, deviation, freedom, estimated)
        if saturation is not None and math.isfinite(saturation):
            count = int(((self.flags & int(Flag.SATURATED)) != 0).sum())
            notes.append(
                f"Samples at {saturation:g}, the clipping level, were excluded in {count} voxels."
                if count
                else f"Samples at and above {saturation:g} would be excluded; no voxel of the mask has any."
            )
        shape = measurement.voxels
        self.flags[~estimated & (self.flags == 0)] |= int(Flag.NOT_CONVERGED)
        deviation[:, ~estimated] = torch.nan
        return ParameterMaps(
            parameters=self.outputs,
            value=self.value.view(-1, *shape),
            standard_deviation=deviation.view(-1, *shape),
            flags=self.flags.view(shape),
            affine=measurement.affine,
            residual=rms.float().view(shape),
            noise=sigma.float().view(shape),
            notes=tuple(notes),
        )

    def _noise_level(
        self, measurement: Measurement, freedom: Tensor, estimated: Tensor
    ) -> tuple[float | None, list[str]]:
        if measurement.noise is not None:
            return measurement.noise, [f"Noise standard deviation as given: {measurement.noise:.4g}."]
        judged = estimated & (freedom > 0) & (self.flags & int(Flag.AT_BOUND | Flag.NOT_CONVERGED) == 0)
        if bool(judged.any()):
            f = freedom[judged].double()
            median_of_chi_squared = f * (1 - 2 / (9 * f)) ** 3
            level = float((self.residual[judged] / median_of_chi_squared).median().sqrt())
            return level, [f"Noise standard deviation from the fit residuals: {level:.4g} (median)."]
        found = image_noise(measurement)
        if found is None:
            return None, [
                "No standard deviations: the fit is exact and the images are too small to measure their noise."
            ]
        return found, [
            f"Noise standard deviation from neighbouring pixels: {found:.4g}; "
            "as many unknowns as images leave no residual to judge it by, or the fit by."
        ]

    def _flag_by_noise(
        self, level: float, sigma: Tensor, deviation: Tensor, freedom: Tensor, estimated: Tensor
    ) -> None:
        weak = estimated & (self.peak < _LEAST_PEAK_SNR * level)
        for row, parameter in enumerate(self.outputs):
            if parameter.bounds[0] >= 0 and parameter.unit not in ("1", "arbitrary"):
                weak |= estimated & (deviation[row] > self.value[row].abs())
        self.flags |= _flag(weak, Flag.LOW_SNR)
        mean_square = self.residual / freedom.clamp_min(1)
        beyond_noise = mean_square > (_MISFIT_FACTOR * level) ** 2
        beyond_share = mean_square.sqrt() > _MISFIT_SHARE * self.peak
        self.flags |= _flag(estimated & (freedom > 0) & beyond_noise & beyond_share, Flag.MODEL_MISFIT)


def _at_bound(model: SignalModel, x: Tensor) -> Tensor:
    hit = torch.zeros(x.shape[1], dtype=torch.bool, device=x.device)
    for row, i in zip(x, model.estimated, strict=True):
        low, high = model.parameters[i].bounds
        margin = _EDGE * min(high - low, max(abs(low), abs(high)), 1.0 if low == 0 else max(abs(low), 1e-300))
        hit |= (row <= low + margin) | (row >= high - _EDGE * abs(high))
    return hit


def _flag(where: Tensor, flag: Flag) -> Tensor:
    return where.to(torch.uint8) * int(flag)
