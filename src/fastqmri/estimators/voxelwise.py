"""The frame of every voxel-wise estimator: screening, chunks, progress, noise, standard deviations, flags."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from fastqmri.core import DataError, Flag, Measurement, ParameterMaps
from fastqmri.estimators import rician
from fastqmri.estimators.judgement import (
    LEAST_PEAK_SNR,
    MISFIT_FACTOR,
    MISFIT_SHARE,
    at_bound,
    check_belongs,
    flagged,
    imprecise,
    outputs_of,
)
from fastqmri.estimators.screening import Screened, image_noise, saturation_level, screen
from fastqmri.physics.signal import SignalModel
from fastqmri.solvers import dispatch
from fastqmri.solvers.solution import Solution

CHUNK = 511 * 64  # a multiple of the kernels' lanes, but rows must not lie whole pages apart in the caches
_Solver = TypeVar("_Solver", bound=Callable[..., Solution])
Solve = Callable[[SignalModel, Tensor, "Tensor | None", "dict[str, Tensor]"], Solution]
"""(model, data (contrast, voxel), weights or None, known maps (voxel)) -> the model's estimated parameters."""

Finish = Callable[[ParameterMaps, Measurement, SignalModel], ParameterMaps]
"""(maps, what they were made from, the model) -> maps that know of their neighbours."""

_Index = slice | Tensor
_PRIOR_FREEDOM = 4.0


def widens(solve: _Solver) -> _Solver:
    """Mark a solver that may be given single precision: it computes in double precision all the same.

    Widening the samples just where they are used spares a copy of them all.
    """
    solve.widens = True  # type: ignore[attr-defined]
    return solve


@dataclass(frozen=True)
class Voxelwise:
    """Runs a batch solver over all voxels of a measurement. An `Estimator`.

    Results do not depend on ``chunk``, which bounds the memory. As many chunks are worked on at a time as
    PyTorch may use threads.

    Attributes:
        model: A and its acquisition.
        solve: the solver of a batch.
        name: of the method, for the records.
        noise: ``gaussian``, or ``rician`` for magnitude images whose weak samples are lifted by noise; the
            latter needs the noise level, from the measurement or from the background of the images.
        chunk: voxels a batch.
        progress: called with (voxels done, voxels in all).
        finish: what is done to the maps at the end, where voxels depend on their neighbours.
    """

    model: SignalModel
    solve: Solve
    name: str
    noise: str = "gaussian"
    chunk: int = CHUNK
    progress: Callable[[int, int], None] | None = None
    finish: Finish | None = None

    def estimate(self, measurement: Measurement) -> ParameterMaps:
        """Estimate the parameters of every voxel inside the mask.

        Raises:
            AcquisitionError: the measurement was not made with this model's acquisition.
            UnknownNameError: a known map that the model does not have.
            DataError: Rician fitting without a noise level, or images that contradict the acquisition.
        """
        with dispatch.own_threads():
            maps = self._estimate(measurement)
        return maps if self.finish is None else self.finish(maps, measurement, self.model)

    def _estimate(self, measurement: Measurement) -> ParameterMaps:
        self._check(measurement)
        prepare = getattr(self.solve, "prepare", None)
        if prepare is not None and not measurement.known:
            prepare(self.model, self.progress)
        if not measurement.data.is_contiguous():  # or every chunk would copy it
            measurement = replace(measurement, data=measurement.data.contiguous())
        work = _Workspace(self.model, measurement)
        known = {name: value.reshape(-1) for name, value in measurement.known.items()}
        saturation = measurement.saturation
        if saturation is None:
            saturation = saturation_level(measurement.data)
        sigma = self._rician_noise(measurement) if self.noise == "rician" else None
        chunks = work.chunks(dispatch.fair_share(work.count, self.chunk))

        def run(index: _Index) -> int:
            batch = screen(measurement, self.model, index, saturation, known)
            self._estimate_batch(batch, index, work, sigma)
            return len(batch.usable)

        done = 0
        for voxels in dispatch.each(run, chunks):
            done += voxels
            if self.progress:
                self.progress(done, work.count)
        maps = work.finish(measurement, saturation, self.chunk)
        notes = getattr(self.solve, "notes", None)
        return maps if notes is None else replace(maps, notes=maps.notes + notes(self.model))

    def _estimate_batch(self, batch: Screened, index: _Index, work: _Workspace, sigma: float | None) -> None:
        """Estimate whole voxels and those with samples left out apart: the former need no weights."""
        work.flags[index] |= batch.flags
        parts: list[tuple[Tensor, Tensor | None]] = [(batch.usable, None)]
        if batch.weights is not None:
            whole = batch.samples == len(batch.data)
            parts = [(batch.usable & whole, None), (batch.usable & ~whole, batch.weights)]
        for mask, weights in parts:
            if bool(mask.all()):
                self._estimate_part(batch, weights, index, work, sigma)
                continue
            chosen = mask.nonzero()[:, 0]
            if len(chosen):
                part = _take(batch, chosen)
                part_weights = None if weights is None else weights[:, chosen]
                self._estimate_part(part, part_weights, _at(index, chosen), work, sigma)

    def _estimate_part(
        self, part: Screened, weights: Tensor | None, index: _Index, work: _Workspace, sigma: float | None
    ) -> None:
        data = part.data
        if sigma is not None or data.dtype != torch.float32 or not getattr(self.solve, "widens", False):
            data = data.to(torch.complex128 if data.is_complex() else torch.float64)
        solution = self.solve(self.model, data, weights, part.known)
        if sigma is not None:
            solution = rician.refine(self.model, solution, data, weights, part.known, sigma)
        work.store(index, part, solution)

    def _check(self, measurement: Measurement) -> None:
        if measurement.encoding is not None:
            raise DataError(
                "k-space for a voxel-wise estimator",
                "it maps images.",
                "Reconstruct images first (estimators.reconstruction), or map k-space by a model-based method.",
            )
        check_belongs(measurement, self.model)
        if measurement.data.is_complex() != self.model.complex_valued:
            held, wanted = ("complex", "real") if measurement.data.is_complex() else ("real", "complex")
            raise DataError(
                f"{held} images for {type(self.model).__name__}",
                f"this model describes {wanted} images.",
                "Take the magnitude, give magnitude and phase, or choose the other form of the model.",
            )
        if type(self.model).examine is not SignalModel.examine:
            data = measurement.data.flatten(1)
            finite = torch.isfinite(data).all(0)
            mask = measurement.mask
            self.model.examine(data[:, finite if mask is None else finite & mask.flatten()])

    def _rician_noise(self, measurement: Measurement) -> float:
        if measurement.data.is_complex():
            raise DataError(
                "complex images", "their noise is Gaussian already.", "Leave the noise model at gaussian."
            )
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
        self.outputs = outputs_of(model)
        voxels = math.prod(measurement.voxels)
        self.flags = torch.zeros(voxels, dtype=torch.uint8)
        self.inside = None
        if measurement.mask is not None:
            mask = measurement.mask.reshape(-1).bool()
            self.inside = mask.nonzero()[:, 0]
            self.flags[~mask] = int(Flag.MASKED)
        self.count = voxels if self.inside is None else len(self.inside)
        self.value = torch.full((len(self.outputs), voxels), torch.nan)
        self.deviation = torch.full((len(self.outputs), voxels), torch.nan)  # per unit noise until `finish`
        self.lock = threading.Lock()
        self.fixed: Tensor | None = None  # variances that do not come from noise
        self.residual = torch.full((voxels,), torch.nan)
        self.samples = torch.zeros(voxels, dtype=torch.int32)
        self.peak = torch.full((voxels,), torch.nan)

    def chunks(self, size: int) -> list[_Index]:
        """All voxels of the mask in chunks; slices where they lie side by side, to spare gathering them."""
        if self.inside is None:
            return [slice(begin, min(begin + size, self.count)) for begin in range(0, self.count, size)]
        return [_side_by_side(index) for index in self.inside.split(size)]

    def store(self, index: _Index, part: Screened, solution: Solution) -> None:
        """Keep values, standard deviations per unit noise, and what the flags will need."""
        model = self.model
        x = solution.x
        values = list(x.unbind())
        variances = [solution.entry(i, i) for i in range(len(x))]
        fixed = [] if solution.fixed is None else list(solution.fixed)
        rows = list(model.estimated)
        for value, gradient in model.derive(model.complete(x, part.known)):
            values.append(value)
            by_estimated = gradient if len(rows) == len(gradient) else gradient[rows]
            variances.append(solution.variance(by_estimated))
            if solution.fixed is not None:
                fixed.append((by_estimated**2 * solution.fixed).sum(0))
        value = torch.stack(values).float()
        failed = ~torch.isfinite(value.sum(0))
        if bool(failed.any()):
            value[:, failed] = torch.nan
        self.value[:, index] = value
        self.deviation[:, index] = torch.stack(variances).float().clamp_min_(0).sqrt_()
        if fixed:
            with self.lock:
                if self.fixed is None:
                    self.fixed = torch.zeros_like(self.deviation)
            self.fixed[:, index] = torch.stack(fixed).float()
        stopped = at_bound(model, x) if solution.at_bound is None else solution.at_bound
        self.residual[index] = solution.residual.float()
        self.samples[index] = part.samples.int() * (2 if model.complex_valued else 1)
        self.peak[index] = part.peak.float()
        self.flags[index] |= flagged(~solution.converged | failed, Flag.NOT_CONVERGED) | flagged(
            stopped, Flag.AT_BOUND
        )

    def finish(self, measurement: Measurement, saturation: float | None, chunk: int) -> ParameterMaps:
        """Find the noise, scale the standard deviations, set the remaining flags."""
        level, notes = self._noise_level(measurement)
        sigma = torch.full_like(self.residual, torch.nan if level is None else level)
        rms = torch.empty_like(self.residual)
        voxels = len(sigma)
        spans = [slice(begin, min(begin + chunk, voxels)) for begin in range(0, voxels, chunk)]
        pooled = measurement.noise is None and level is not None

        def scale(span: slice) -> None:
            self._finish_span(span, level, pooled, sigma[span], rms[span])

        for _ in dispatch.each(scale, spans):
            pass
        if saturation is not None and math.isfinite(saturation):
            count = int(((self.flags & int(Flag.SATURATED)) != 0).sum())
            notes.append(
                f"Samples at {saturation:g}, the clipping level, were excluded in {count} voxels."
                if count
                else f"Samples at and above {saturation:g} would be excluded; no voxel of the mask has any."
            )
        shape = measurement.voxels
        return ParameterMaps(
            parameters=self.outputs,
            value=self.value.view(-1, *shape),
            standard_deviation=self.deviation.view(-1, *shape),
            flags=self.flags.view(shape),
            affine=measurement.affine,
            residual=rms.view(shape),
            noise=sigma.view(shape),
            notes=tuple(notes),
        )

    def _finish_span(
        self, span: slice, level: float | None, pooled: bool, sigma: Tensor, rms: Tensor
    ) -> None:
        samples, residual = self.samples[span], self.residual[span]
        freedom = (samples - self.model.unknowns).clamp_min_(0)
        estimated = torch.isfinite(self.value[:, span].sum(0))
        if pooled and level is not None:
            # a voxel's own residual counts as far as its degrees of freedom carry it (Smyth 2004)
            own = ((_PRIOR_FREEDOM * level**2 + residual) / (_PRIOR_FREEDOM + freedom)).sqrt_()
            torch.where(freedom > 0, own, sigma, out=sigma)
        self.deviation[:, span] *= sigma
        if self.fixed is not None:
            self.deviation[:, span] = torch.hypot(self.deviation[:, span], self.fixed[:, span].sqrt())
        torch.div(residual, samples.clamp_min(1), out=rms).sqrt_()
        flags = self.flags[span]
        if level is not None:
            flags |= self._flags_by_noise(span, level, freedom, estimated)
        lost = ~estimated
        if bool(lost.any()):
            flags |= flagged(lost & (flags == 0), Flag.NOT_CONVERGED)
            self.deviation[:, span].masked_fill_(lost, torch.nan)

    def _noise_level(self, measurement: Measurement) -> tuple[float | None, list[str]]:
        if measurement.noise is not None:
            return measurement.noise, [f"Noise standard deviation as given: {measurement.noise:.4g}."]
        mean_square = self._typical_mean_squares()
        if len(mean_square):
            level = float(mean_square.median()) ** 0.5
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

    def _typical_mean_squares(self) -> Tensor:
        """Residuals of the good fits over the medians that unit noise would give them."""
        freedom = (self.samples - self.model.unknowns).clamp_min_(0)
        judged = (freedom > 0) & torch.isfinite(self.value[0])
        judged &= (self.flags & int(Flag.AT_BOUND | Flag.NOT_CONVERGED)) == 0
        residual = self.residual
        if not bool(judged.all()):
            residual, freedom = residual[judged], freedom[judged]
        f = torch.arange(1 + (int(freedom.max()) if len(freedom) else 0), dtype=torch.float64)
        medians_of_chi_squared = (f * (1 - 2 / (9 * f)) ** 3).float()
        return residual / medians_of_chi_squared[freedom]

    def _flags_by_noise(self, span: slice, level: float, freedom: Tensor, estimated: Tensor) -> Tensor:
        """Flags of weak signal and of misfit; call it once the standard deviations are scaled."""
        peak = self.peak[span]
        weak = peak < LEAST_PEAK_SNR * level
        weak |= imprecise(self.outputs, self.value[:, span], self.deviation[:, span])
        mean_square = self.residual[span] / freedom.clamp_min(1)
        misfit = (freedom > 0) & (mean_square > (MISFIT_FACTOR * level) ** 2)
        misfit &= mean_square.sqrt_() > MISFIT_SHARE * peak
        return flagged(weak & estimated, Flag.LOW_SNR) | flagged(misfit & estimated, Flag.MODEL_MISFIT)


def _take(batch: Screened, chosen: Tensor) -> Screened:
    return Screened(
        batch.data[:, chosen],
        None if batch.weights is None else batch.weights[:, chosen],
        {name: value[chosen] for name, value in batch.known.items()},
        batch.flags[chosen],
        batch.usable[chosen],
        batch.samples[chosen],
        batch.peak[chosen],
    )


def _side_by_side(index: Tensor) -> _Index:
    """The ascending indices as a slice, if they have no gaps."""
    first, last = int(index[0]), int(index[-1])
    return slice(first, last + 1) if last - first + 1 == len(index) else index


def _at(index: _Index, chosen: Tensor) -> Tensor:
    """Flat indices of the chosen places of a chunk."""
    return chosen + index.start if isinstance(index, slice) else index[chosen]
