"""The way back where the samples themselves are the parameters: only what is derived from them is sought."""

from __future__ import annotations

import torch
from torch import Tensor

from fastqmri.physics.signal import ZAsymmetry
from fastqmri.solvers.solution import Solution


class _Samples(Solution):
    """Samples as a solution: uncorrelated, each with the variance of the noise."""

    def entry(self, i: int, j: int) -> Tensor:
        return torch.full_like(self.x[0], float(i == j))

    def variance(self, gradient: Tensor) -> Tensor:
        return (gradient**2).sum(0)


def sampled(model: ZAsymmetry, data: Tensor, weights: Tensor | None, known: dict[str, Tensor]) -> Solution:
    """Take the samples as they are; a voxel that lacks one gets no value."""
    del model, known
    x = data if weights is None else torch.where(weights > 0, data, torch.full_like(data, torch.nan))
    return _Samples(x, torch.empty(0), torch.zeros_like(x[0]), torch.ones_like(x[0], dtype=torch.bool))
