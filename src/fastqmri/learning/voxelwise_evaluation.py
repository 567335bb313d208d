"""How a network of single voxels compares with matching, least squares and the Cramér-Rao bound."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fastqmri.core import Measurement, Progress
from fastqmri.estimators.cramer_rao import cramer_rao_bound
from fastqmri.estimators.grid import Axis
from fastqmri.estimators.least_squares import least_squares
from fastqmri.estimators.matching import dictionary_matching
from fastqmri.estimators.voxelwise import Voxelwise
from fastqmri.learning.evaluation import Result, relative_error
from fastqmri.learning.voxelwise_inference import VoxelNetwork, voxelwise_network
from fastqmri.physics.signal import SignalModel

HELD_OUT = 1000
"""First seed of the voxels that results are reported on."""
_BOUND = "Cramér-Rao bound"


@dataclass(frozen=True)
class Drawn:
    """Voxels of a trial.

    Attributes:
        x: (parameter, voxel), all of the model's.
        data: (contrast, voxel) magnitudes, those without noise of unit root mean square.
        noise: standard deviation of the noise of a real channel; zero without noise.
    """

    x: Tensor
    data: Tensor
    noise: float


@dataclass(frozen=True)
class Trial:
    """What voxels are drawn from.

    Attributes:
        tissue: name -> range, drawn evenly; T2 stays below T1 where both are drawn.
        snr: root mean square of the signals over the noise of a real channel; infinity is none.
        hidden: name -> value of a quantity normally known, that no estimator is told.
    """

    tissue: Mapping[str, tuple[float, float]]
    snr: float
    hidden: Mapping[str, float] = field(default_factory=dict)

    def draw(self, model: SignalModel, generator: torch.Generator, count: int) -> Drawn:
        """Voxels; magnitudes with Rician noise."""
        rows = {name: torch.empty(0) for name in self.tissue}
        while len(next(iter(rows.values()))) < count:
            fresh = {
                name: low + (high - low) * torch.rand(count, generator=generator)
                for name, (low, high) in self.tissue.items()
            }
            keep = torch.ones(count, dtype=torch.bool)
            if {"T1", "T2"} <= set(fresh):
                keep = fresh["T2"] < fresh["T1"]
            rows = {name: torch.cat([rows[name], fresh[name][keep]])[:count] for name in rows}
        x = torch.stack(
            [
                rows.get(
                    p.name,
                    torch.full((count,), self.hidden.get(p.name, 1.0 if p.nominal is None else p.nominal)),
                )
                for p in model.parameters
            ]
        )
        with torch.no_grad():
            clean = model(x)
        size = clean.square().mean(0).sqrt()
        x[0] /= size
        clean = clean / size
        noise = 0.0 if math.isinf(self.snr) else 1 / self.snr
        if not noise:
            return Drawn(x, clean, noise)
        white = noise * torch.randn((2, *clean.shape), generator=generator)
        return Drawn(x, torch.hypot(clean + white[0], white[1]), noise)


def contenders(
    name: str, model: SignalModel, network: VoxelNetwork, axes: Mapping[str, Axis]
) -> dict[str, Voxelwise]:
    """The network, and the classical estimators it is compared with; exact matching finds what full matching does."""
    return {
        name: voxelwise_network(model, network, name, finishing=0),
        f"{name}, finished": voxelwise_network(model, network, name),
        "matching": dictionary_matching(model, axes),
        "matching-svd": dictionary_matching(model, axes, search="compressed"),
        "matching-group": dictionary_matching(model, axes, search="grouped"),
        "matching-refined": dictionary_matching(model, axes, refine=True),
        "nlls": least_squares(model),
    }


def compare(
    name: str,
    model: SignalModel,
    network: VoxelNetwork,
    cases: Mapping[str, Trial],
    axes: Mapping[str, Axis],
    *,
    seeds: int = 3,
    voxels: int = 1000,
    progress: Progress | None = None,
) -> list[Result]:
    """Errors of every contender in every case, the same voxels for all.

    The bound counts as the mean percent error that an unbiased Gaussian estimate of its spread would have.
    """
    results = []
    estimators = contenders(name, model, network, axes)
    steps = len(cases) * seeds
    for number, (case, trial) in enumerate(cases.items()):
        drawn = []
        for seed in range(seeds):
            generator = torch.Generator().manual_seed(HELD_OUT + 100 * number + seed)
            drawn.append(trial.draw(model, generator, voxels))
        for who, estimator in estimators.items():
            results += _rows(case, who, [_pairs(estimator, one) for one in drawn])
        results += _bounds(case, model, drawn)
        if progress:
            progress((number + 1) * seeds, steps)
    return results


def _pairs(estimator: Voxelwise, drawn: Drawn) -> dict[str, tuple[Tensor, Tensor]]:
    """Values and truths (voxel) of the estimated parameters; what was not estimated counts as zero."""
    model = estimator.model
    maps = estimator.estimate(Measurement(drawn.data, model.acquisition, noise=drawn.noise or None))
    return {
        p.name: (maps[p.name].value.double().nan_to_num(), row.double())
        for p, row in zip(model.parameters, drawn.x, strict=True)
        if p.nominal is None
    }


def _rows(case: str, method: str, pairs: list[dict[str, tuple[Tensor, Tensor]]]) -> list[Result]:
    rows = []
    for name in pairs[0]:
        errors = [(one[name][0] - one[name][1]) / one[name][1] for one in pairs]
        squared = [
            relative_error(*one[name], torch.ones_like(one[name][1], dtype=torch.bool)) for one in pairs
        ]
        absolute = [100 * float(e.abs().mean()) for e in errors]
        rows.append(Result.over(case, method, name, "MAPE", "%", absolute))
        rows.append(Result.over(case, method, name, "bias", "%", [100 * float(e.mean()) for e in errors]))
        rows.append(Result.over(case, method, name, "nRMSE", "%", squared))
    return rows


def _bounds(case: str, model: SignalModel, drawn: list[Drawn]) -> list[Result]:
    if not drawn[0].noise:
        return []
    values: dict[str, list[float]] = {}
    for one in drawn:
        names, bound = cramer_rao_bound(model, one.x, one.noise, rician=True)
        rows = {p.name: row.double() for p, row in zip(model.parameters, one.x, strict=True)}
        for name, spread in zip(names, bound, strict=True):
            if name in rows:
                share = 100 * math.sqrt(2 / math.pi) * float((spread / rows[name]).mean())
                values.setdefault(name, []).append(share)
    return [Result.over(case, _BOUND, name, "MAPE", "%", found) for name, found in values.items()]
