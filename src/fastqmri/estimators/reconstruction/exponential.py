"""Low rank, sparsity and exponential decay together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fastqmri.core import AcquisitionError, Measurement, Progress
from fastqmri.core.acquisition import Acquisition
from fastqmri.estimators.reconstruction.low_rank import local_threshold
from fastqmri.estimators.reconstruction.problem import data_term
from fastqmri.estimators.reconstruction.wavelet import group_details, wavelet_threshold
from fastqmri.solvers.subspace import leading_direction

_LEAST_ECHOES = 4
_UNEVEN = 0.01


@dataclass(frozen=True)
class LowRankSparse:
    """Locally low rank images, sparse in wavelets, that decay exponentially over evenly spaced contrasts.

    An exponential sampled evenly has a Hankel matrix of rank one: every iteration moves each voxel's decay a part of
    the way to the nearest one of rank one, after both thresholds. Our approximation of the idea: the three operators
    one after the other are not the proximal operator of their sum.

    Source: Peng 2016 for the priors; how they are combined, and λ, are our choice.

    Attributes:
        low_rank: λ of the low rank, as in `LocallyLowRank`.
        sparsity: λ of the wavelets, as in `WaveletSparsity`.
        exponential: how far towards an exponential each iteration goes, 0 to 1.
        block: side of a block in voxels; as in `LocallyLowRank` if None.
        wavelet: name that PyWavelets knows.
        iterations: at most.
        tolerance: relative change to stop at.
        seed: of the shifts.
    """

    low_rank: float = 0.1
    sparsity: float = 0.2
    exponential: float = 0.5
    block: int | None = None
    wavelet: str = "haar"
    iterations: int = 60
    tolerance: float = 1e-4
    seed: int = 0
    name: str = "low-rank-sparse"
    references: tuple[str, ...] = ("peng2016", "beck2009")

    def reconstruct(self, measurement: Measurement, *, progress: Progress | None = None) -> Tensor:
        """Complex images (contrast, *voxels).

        Raises:
            AcquisitionError: contrasts that are not evenly spaced, or fewer than four.
        """
        require_even(measurement.acquisition)
        term = data_term(measurement)
        low_rank = local_threshold(term, self.low_rank, self.block, self.seed)
        sparse = wavelet_threshold(
            measurement.voxels, self.wavelet, group_details, self.sparsity * term.noise * term.step, self.seed
        )

        def proximal(x: Tensor) -> Tensor:
            x = sparse(low_rank(x))
            return torch.lerp(x, nearest_exponential(x), self.exponential)

        return term.minimum(proximal, iterations=self.iterations, tolerance=self.tolerance, progress=progress)


def require_even(acquisition: Acquisition) -> None:
    """Refuse an acquisition whose contrasts are not evenly spaced.

    Raises:
        AcquisitionError: it isn't, or has fewer than four.
    """
    name = getattr(acquisition, "varies", "")
    values = getattr(acquisition, name, ())
    even = False
    if len(values) >= _LEAST_ECHOES and all(isinstance(v, float) for v in values):
        steps = torch.tensor(values, dtype=torch.float64).diff()
        even = bool(((steps - steps.mean()).abs() <= _UNEVEN * steps.mean().abs()).all())
    if not even:
        raise AcquisitionError(
            f"{type(acquisition).__name__} with {name or 'its contrasts'} {values}",
            "the prior of exponential decay needs four evenly spaced contrasts at least.",
            "Use llr, subspace or another method.",
        )


def nearest_exponential(x: Tensor) -> Tensor:
    """Signals (contrast, *voxels) whose Hankel matrices were cut to rank one and averaged along antidiagonals."""
    contrasts = len(x)
    columns = contrasts // 2 + 1
    rows = contrasts - columns + 1
    place = torch.arange(rows)[:, None] + torch.arange(columns)[None]
    hankel = x.flatten(1).T[:, place]
    direction = leading_direction(hankel)
    first = (hankel @ direction.unsqueeze(-1)) @ direction.conj().unsqueeze(-2)
    sums = torch.zeros_like(x.flatten(1)).index_add_(0, place.flatten().to(x.device), first.flatten(1).T)
    counts = torch.bincount(place.flatten(), minlength=contrasts).to(x.real)
    return (sums / counts[:, None]).view_as(x)
