"""Contrasts made of few learned curves."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, avg_pool3d

from fastqmri.core import Measurement, Progress
from fastqmri.estimators.reconstruction.problem import data_term
from fastqmri.estimators.reconstruction.subspace import simulated_curves
from fastqmri.physics.signal import SignalModel
from fastqmri.solvers.conjugate_gradient import conjugate_gradient
from fastqmri.solvers.sparse_coding import learned_dictionary, matching_pursuit

_CURVES = 1024


@dataclass(frozen=True)
class DictionaryLearning:
    """Each voxel's signal over contrasts is made of few atoms, learned by K-SVD from curves of the signal model.

    Sparse coding of every voxel alternates with min ||E ρ - y||² + μ ||ρ - coded||². Voxels choose their atoms by
    scores averaged with their neighbours', which aliasing does not share; amplitudes are their own.

    Source: Aharon 2006 for the atoms; after the idea of Zhu 2019, whose details we do not know; μ is our choice.

    Attributes:
        model: whose signals the atoms are learned from.
        atoms: number.
        sparsity: atoms a voxel.
        coupling: μ, relative to the largest eigenvalue of E^H E.
        reach: voxels to either side whose scores are averaged.
        rounds: of coding and data.
        iterations: conjugate gradients in a round.
        seed: of the curves.
    """

    model: SignalModel
    atoms: int = 100
    sparsity: int = 1
    coupling: float = 0.05
    reach: int = 1
    rounds: int = 20
    iterations: int = 5
    seed: int = 0
    name: str = "dictionary-learning"
    references: tuple[str, ...] = ("aharon2006",)

    def reconstruct(self, measurement: Measurement, *, progress: Progress | None = None) -> Tensor:
        """Complex images (contrast, *voxels)."""
        generator = torch.Generator().manual_seed(self.seed)
        curves = simulated_curves(self.model, _CURVES, generator=generator)
        sparsity = min(self.sparsity, len(curves))
        dictionary = learned_dictionary(curves, self.atoms, sparsity, generator=generator)
        dictionary = dictionary.to(measurement.data if dictionary.is_complex() else measurement.data.real)
        term = data_term(measurement)
        coupling = self.coupling * term.lipschitz
        x = term.right * term.step
        voxels = measurement.voxels
        average = avg_pool2d if len(voxels) == 2 else avg_pool3d

        def pool(scores: Tensor) -> Tensor:
            side = 2 * self.reach + 1
            return average(scores.view(-1, *voxels), side, 1, self.reach).flatten(1)

        for number in range(self.rounds):
            codes = matching_pursuit(x.flatten(1), dictionary, sparsity, pool)
            coded = (dictionary.to(x.dtype) @ codes).view_as(x)
            x = conjugate_gradient(
                lambda v: term.gram(v) + coupling * v,
                term.right + coupling * coded,
                start=coded,
                iterations=self.iterations,
            )
            if progress:
                progress(number + 1, self.rounds)
        return x
