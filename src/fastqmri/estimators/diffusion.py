"""Linear least squares of the logarithms: for every model whose logarithm is linear."""

from __future__ import annotations

import torch
from torch import Tensor

from fastqmri.estimators.voxelwise import widens
from fastqmri.physics.signal import SignalModel
from fastqmri.solvers import dispatch
from fastqmri.solvers.linear import regression
from fastqmri.solvers.solution import Solution


def ordinary(model: SignalModel, data: Tensor, weights: Tensor | None, known: dict[str, Tensor]) -> Solution:
    """Ordinary least squares of the logarithms. Its standard deviations know that weak samples are noisier.

    Source: Basser 1994.
    """
    beta, covariance = _regress(model, data, weights, known, None)
    return _solution(model, data, weights, known, beta, covariance)


@widens
def weighted(model: SignalModel, data: Tensor, weights: Tensor | None, known: dict[str, Tensor]) -> Solution:
    """One reweighting by the squared signal that the ordinary fit predicts.

    Source: Veraart 2013.
    """
    return _reweighted(model, data, weights, known, passes=1)


@widens
def iteratively_reweighted(
    model: SignalModel, data: Tensor, weights: Tensor | None, known: dict[str, Tensor]
) -> Solution:
    """Three reweightings, each by the signal that the last fit predicts.

    Source: Veraart 2013, iterated.
    """
    return _reweighted(model, data, weights, known, passes=3)


def _reweighted(
    model: SignalModel, data: Tensor, weights: Tensor | None, known: dict[str, Tensor], *, passes: int
) -> Solution:
    structure = model.log_linear(known)
    assert structure is not None
    if dispatch.usable(data):
        z = dispatch.fit_log_linear(data, weights, structure.design, passes=passes)
        return structure.parameters_of(z)
    data = data.double()
    beta, covariance = _regress(model, data, weights, known, None)
    for _ in range(passes):
        predicted = torch.exp(structure.design.to(data) @ beta)
        beta, covariance = _regress(model, data, weights, known, predicted)
    return _solution(model, data, weights, known, beta, covariance)


def _regress(
    model: SignalModel,
    data: Tensor,
    weights: Tensor | None,
    known: dict[str, Tensor],
    predicted: Tensor | None,
) -> tuple[Tensor, Tensor]:
    structure = model.log_linear(known)
    assert structure is not None
    design = structure.design.to(data)
    used = torch.ones_like(data) if weights is None else weights
    logarithms = torch.where(used > 0, data, torch.ones_like(data)).clamp_min(1e-30).log()
    if predicted is not None:
        return regression(design, logarithms, used * predicted**2, 1 / predicted**2)
    beta, _ = regression(design, logarithms, used, torch.ones_like(data))
    variance = torch.exp(-2 * (design @ beta))
    return regression(design, logarithms, used, variance)


def _solution(
    model: SignalModel,
    data: Tensor,
    weights: Tensor | None,
    known: dict[str, Tensor],
    beta: Tensor,
    covariance: Tensor,
) -> Solution:
    structure = model.log_linear(known)
    assert structure is not None
    residuals = (data - torch.exp(structure.design.to(data) @ beta)) ** 2
    residual = (residuals if weights is None else weights * residuals).sum(0)
    z = Solution(beta, covariance, residual, torch.isfinite(beta).all(0))
    return structure.parameters_of(z)
