"""Contrasts inside the few directions that a signal model can reach."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fastqmri.core import Measurement, PlausibilityError, Progress
from fastqmri.estimators.reconstruction.low_rank import local_threshold
from fastqmri.estimators.reconstruction.problem import data_term
from fastqmri.physics.encoding import TemporalSubspace
from fastqmri.physics.signal import SignalModel
from fastqmri.solvers.subspace import principal

_CURVES = 4096
_WIDE = 5.0


def simulated_curves(model: SignalModel, count: int = _CURVES, *, generator: torch.Generator) -> Tensor:
    """Signals of the tissue that a model's priors allow, (contrast, curve) in double precision, unit length.

    Parameters are drawn evenly from their priors, evenly in their logarithm where a prior spans more than a factor of
    five; amplitudes are one.

    Args:
        model: A and its acquisition.
        count: number of curves.
        generator: draws them.
    """
    rows = []
    for i, parameter in enumerate(model.parameters):
        low, high = parameter.prior
        share = torch.rand(count, dtype=torch.float64, generator=generator)
        if i == 0:
            rows.append(torch.ones(count, dtype=torch.float64))
        elif low > 0 and high / low > _WIDE:
            rows.append(low * (high / low) ** share)
        else:
            rows.append(low + (high - low) * share)
    model = model.signed() or model
    curves = model(torch.stack(rows))
    return curves / curves.norm(dim=0).clamp_min(torch.finfo(torch.float64).tiny)


def temporal_basis(model: SignalModel, rank: int, *, generator: torch.Generator) -> tuple[Tensor, float]:
    """Orthonormal directions (contrast, rank) of a model's signals, and the share of their energy that lies outside.

    Source: Tamir 2017.

    Args:
        model: whose signals are spanned.
        rank: how many directions.
        generator: draws the parameters of the signals.

    Raises:
        PlausibilityError: a rank below 1 or above the number of contrasts.
    """
    if not 1 <= rank <= model.acquisition.contrasts:
        raise PlausibilityError(
            f"a subspace of rank {rank} for {model.acquisition.contrasts} contrasts",
            "it has at least one direction and at most one per contrast.",
            "Choose a rank of 2 to 5.",
        )
    curves = simulated_curves(model, generator=generator)
    directions, shares = principal(curves.T)
    return directions[:, :rank].conj().resolve_conj(), 1 - float(shares[rank - 1])


@dataclass(frozen=True)
class SubspaceLowRank:
    """Coefficients α of ρ = Φ α, Φ from curves of the signal model: min ½||E Φ α - y||² + λ Σ_b ||α_b||_*.

    Source: Tamir 2017, solved by FISTA; λ and the curves are our choice.

    Attributes:
        model: whose signals span the subspace.
        rank: number of directions.
        weight: λ in units of the largest singular value that a block of noise alone has.
        block: side of a block in voxels; as in `LocallyLowRank` if None.
        iterations: at most.
        tolerance: relative change to stop at.
        seed: of the curves and shifts.
    """

    model: SignalModel
    rank: int = 4
    weight: float = 0.2
    block: int | None = None
    iterations: int = 60
    tolerance: float = 1e-4
    seed: int = 0
    name: str = "subspace"
    references: tuple[str, ...] = ("tamir2017", "beck2009")

    def reconstruct(self, measurement: Measurement, *, progress: Progress | None = None) -> Tensor:
        """Complex images (contrast, *voxels)."""
        rank = min(self.rank, self.model.acquisition.contrasts)
        basis, _ = temporal_basis(self.model, rank, generator=torch.Generator().manual_seed(self.seed))
        subspace = TemporalSubspace(basis.to(measurement.data), len(measurement.voxels))
        term = data_term(measurement).projected(subspace)
        coefficients = term.minimum(
            local_threshold(term, self.weight, self.block, self.seed),
            iterations=self.iterations,
            tolerance=self.tolerance,
            progress=progress,
        )
        return subspace(coefficients)
