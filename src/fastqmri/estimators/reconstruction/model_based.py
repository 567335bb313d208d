"""Parameter maps straight from k-space: the signal model and the encoding inverted together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from fastqmri.core import Measurement, ParameterMaps
from fastqmri.estimators.judgement import LEAST_PEAK_SNR, check_belongs
from fastqmri.estimators.reconstruction.images import ImageReconstruction, Progress, encoding_of
from fastqmri.estimators.reconstruction.judged import (
    Explanation,
    check_samples,
    judged_maps,
    usable_known,
)
from fastqmri.estimators.reconstruction.model_data import DataState, ModelData
from fastqmri.estimators.reconstruction.model_problem import ModelProblem
from fastqmri.estimators.reconstruction.noise import kspace_noise
from fastqmri.estimators.reconstruction.penalty import Penalty
from fastqmri.estimators.reconstruction.spread import Spread, spread
from fastqmri.estimators.reconstruction.unknowns import Unknowns
from fastqmri.estimators.reconstruction.warm_start import fitted, reduced, subspace_images
from fastqmri.physics.encoding import FiniteDifferences, Wavelets
from fastqmri.physics.signal import SignalModel
from fastqmri.solvers.adam import adam
from fastqmri.solvers.gauss_newton import gauss_newton

_SMOOTHING = (3.0, 1.0, 0.3)
"""ε of the stages, in units of the noise."""
_CONVEX = 6
"""Stages of a convex penalty."""
_SHARE = 0.07
"""The last step may still move the unknowns by this share of their standard deviations, root mean square."""
_UNSETTLED = 0.5
"""A last step longer than this share of its standard deviation has not settled."""
_MOST_OUTSIDE = 0.005
"""Share of voxels that may end with more than the noise outside the subspace, before all contrasts are used."""
_ADAM_STEP = 0.03
_ITERATIONS = {"gauss-newton": 12, "adam": 300}
_INNER = 8
_INNER_TOLERANCE = 0.1


@dataclass(frozen=True)
class ModelBased:
    """min ½ Σ_i ||E_i z S_i(x) - y_i||² + λ R(z, x) over complex amplitudes z and parameters x. An `Estimator`.

    Positive parameters are solved for by their logarithms, all scaled to equal effect on the images. λ is ``weight``
    times the standard deviation of the noise, so that the unit of the data does not matter. The standard deviations
    are those of the Gaussian posterior whose prior the penalty is.

    Source: Zhu 2023, Eq. 8; Block 2009; Wang 2018 for the Gauss-Newton method. The weight is our choice, tuned on
    textured ellipses, T1 and T2, accelerations 5 and 8, and so is the edge.

    Attributes:
        model: A and its acquisition.
        penalty: ``tv``, total variation, or ``wavelet``, details of an orthogonal wavelet transform; both are joint
            over the tissue parameters, and apart from the amplitude.
        weight: λ in units of the noise.
        edge: differences of so many noises, and more, count as edges that keep their height; infinite for a convex
            penalty.
        amplitude_weight: of the amplitude's penalty, relative.
        solver: ``gauss-newton`` or ``adam``.
        iterations: at most; 12 steps of Gauss-Newton or 300 of Adam if None.
        draws: random draws for the standard deviations; with 0 aliases and neighbours are left out of them.
        start: images for the voxel-wise fit to start from; those of the model's subspace if None.
        seed: of the draws.
        progress: called with (iteration, iterations).
    """

    model: SignalModel
    penalty: Literal["tv", "wavelet"] = "tv"
    weight: float = 0.15
    edge: float = 20.0
    amplitude_weight: float = 0.5
    solver: Literal["gauss-newton", "adam"] = "gauss-newton"
    iterations: int | None = None
    draws: int = 4
    start: ImageReconstruction | None = None
    seed: int = 0
    progress: Progress | None = None
    name: str = "model-based"
    references: tuple[str, ...] = ("block2009", "wang2018", "zhu2023")

    def estimate(self, measurement: Measurement) -> ParameterMaps:
        """Estimate the parameters of every voxel inside the mask.

        Raises:
            AcquisitionError: the measurement was not made with this model's acquisition.
            UnknownNameError: a known map that the model does not have.
            DataError: images, or k-space with NaN or infinite samples.
        """
        return self.explain(measurement).maps

    def explain(self, measurement: Measurement, begin: tuple[Unknowns, Tensor] | None = None) -> Explanation:
        """`estimate`, with the images that the maps stand for.

        Args:
            measurement: k-space with an encoding.
            begin: unknowns and v to start from, instead of a voxel-wise fit.
        """
        encoding = encoding_of(measurement)
        check_belongs(measurement, self.model)
        check_samples(measurement)
        noise = kspace_noise(measurement)
        generator = torch.Generator().manual_seed(self.seed)
        data = ModelData.of(encoding, measurement.data, generator)
        density = float(data.density.mean())
        known, doubtful = usable_known(self.model, measurement)
        if begin is not None:
            unknowns, v = begin
            images = unknowns.basis(v).images
        elif self.start is None:
            images = subspace_images(data, self.model.signed() or self.model, noise, generator)
        else:
            images = self.start.reconstruct(measurement)
        if begin is None:
            unknowns, v = fitted(images, self.model, known, noise / density**0.5)
        problem = self._problem(
            reduced(data, unknowns, v, noise / density**0.5, generator), unknowns, v, noise
        )
        solved = self._solve(problem, v)
        end = data.state(unknowns, solved.v)
        outside = problem.data.lost(end.basis.images) > noise / density**0.5
        if float(outside.float().mean()) > _MOST_OUTSIDE:
            problem = self._problem(data, unknowns, v, noise)
            solved = self._solve(problem, solved.v)
            end = data.state(unknowns, solved.v)
        inside = end.basis.images.abs().amax(0) > LEAST_PEAK_SNR * noise
        if measurement.mask is not None:
            inside &= measurement.mask
        uncertain = spread(
            problem,
            solved.v,
            solved.state.basis,
            solved.stage,
            like=measurement.data,
            noise=noise,
            draws=self.draws,
            inside=inside,
            generator=generator,
        )
        lost = doubtful if measurement.mask is None else doubtful & measurement.mask
        maps = self._maps(
            measurement, problem, solved, end.basis.images, data.misfit(end), uncertain, noise, lost
        )
        return Explanation(maps, images, end.basis.images)

    def _problem(self, data: ModelData, unknowns: Unknowns, v: Tensor, noise: float) -> ModelProblem:
        voxels = tuple(v.shape[1:])
        transform = FiniteDifferences(len(voxels)) if self.penalty == "tv" else Wavelets(voxels)
        groups: tuple[tuple[int, ...], ...] = ((0, 1),)
        weights: tuple[float, ...] = (self.amplitude_weight,)
        if len(v) > 2:
            groups, weights = (*groups, tuple(range(2, len(v)))), (*weights, 1.0)
        return ModelProblem(
            data,
            unknowns,
            Penalty(transform, groups, weights, self.edge * noise),
            self.weight * noise,
            tuple(noise * s for s in _SMOOTHING),
            _CONVEX,
            noise,
            _SHARE,
        )

    def _solve(self, problem: ModelProblem, start: Tensor) -> _Solved:
        iterations = _ITERATIONS[self.solver] if self.iterations is None else self.iterations
        if self.solver == "gauss-newton":
            end = gauss_newton(
                problem,
                start,
                iterations=iterations,
                inner=_INNER,
                inner_tolerance=_INNER_TOLERANCE,
                progress=self.progress,
            )
            return _Solved(end.x, end.state[1], end.stage, end.step, end.settled)
        last = max(len(problem.smoothing), problem.convex + 1) - 1

        def gradient(v: Tensor, iteration: int) -> Tensor:
            return problem.gradient(problem.state(v), iteration * (last + 1) // iterations)

        step = _ADAM_STEP * problem.unknowns.typical(start)
        v, change = adam(
            gradient, problem.moved, start, step=step, iterations=iterations, progress=self.progress
        )
        there = problem.state(v)
        gain = problem.value(problem.state(v - change), last) - problem.value(there, last)
        return _Solved(v, there[1], last, change, problem.settled(gain, last))

    def _maps(
        self,
        measurement: Measurement,
        problem: ModelProblem,
        solved: _Solved,
        images: Tensor,
        residual: Tensor,
        uncertain: Spread,
        noise: float,
        doubtful: Tensor,
    ) -> ParameterMaps:
        unknowns, v = problem.unknowns, solved.v
        voxels = v.shape[1:]
        x = unknowns.parameters(v)
        gradients = unknowns.gradients(v)
        complete = self.model.complete(x, unknowns.known).flatten(1)
        rows = list(self.model.estimated)
        values, deviations = list(x), [uncertain.deviation(g) for g in gradients]
        for value, gradient in self.model.derive(complete):
            by_estimated = gradient[rows].view(len(rows), 1, *voxels)
            values.append(value.view(voxels))
            deviations.append(uncertain.deviation((by_estimated * gradients).sum(0)))
        moving = torch.zeros(voxels, dtype=torch.bool)
        if not solved.settled:
            for step, row in zip(unknowns.changes(v, solved.step), deviations, strict=False):
                moving |= step.abs() > _UNSETTLED * row
        return judged_maps(
            self.model,
            measurement,
            torch.stack(values),
            torch.stack(deviations),
            images=images,
            residual=residual,
            noise=noise,
            moving=moving,
            doubtful=doubtful,
            notes=self._notes(measurement, problem, solved, noise),
        )

    def _notes(
        self, measurement: Measurement, problem: ModelProblem, solved: _Solved, noise: float
    ) -> tuple[str, ...]:
        source = "as given" if measurement.noise is not None else "from the rim of k-space"
        ended = "settled" if solved.settled else "stopped before it settled"
        steps = f"{solved.stage + 1} steps of Gauss-Newton" if self.solver == "gauss-newton" else "Adam"
        return (
            f"Noise standard deviation of k-space {source}: {noise:.4g}.",
            f"Model-based reconstruction, {self.penalty} penalty of weight {problem.weight:.4g} "
            f"({self.weight:g} of the noise); {steps}, {ended}.",
            "Standard deviations take the penalty for a prior; they do not know of signals outside the model.",
        )


@dataclass(frozen=True)
class _Solved:
    """Where a solver ended."""

    v: Tensor
    state: DataState
    stage: int
    step: Tensor
    settled: bool
