"""Networks from k-space beside two-step and model-based reconstructions, on the same objects in one run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from fastqmri.core import Estimator, Measurement, ParameterMaps, Progress
from fastqmri.estimators.least_squares import least_squares
from fastqmri.estimators.reconstruction import LocallyLowRank, ModelBased, TwoStep, ZeroFilled
from fastqmri.estimators.reconstruction.images import encoding_of
from fastqmri.learning.evaluation import SHIFT, Result, relative_error
from fastqmri.phantoms import ELLIPSE_SEEDS, SPLITS, Phantom, acquire, brain, ellipses, load_anatomy
from fastqmri.physics.encoding import (
    CartesianEncoding,
    poisson_disc,
    synthetic_sensitivities,
    variable_density_lines,
)
from fastqmri.physics.signal import SignalModel, SpoiledGradientEcho

_SIDE = 64
_SNR = 60.0
_SOLID = 0.95


def judged_object(kind: str, number: int, lesions: int = 0, split: str = "held-out") -> Phantom:
    """An object of a part of the split that nothing was trained on: ``ellipses`` or ``brain``."""
    seed = ELLIPSE_SEEDS[split][number]
    generator = torch.Generator().manual_seed(seed)
    if kind == "ellipses":
        return ellipses((_SIDE, _SIDE), generator=generator)
    anatomy = load_anatomy(SPLITS[split][0], os.environ.get("FASTQMRI_TEST_DATA"))
    return brain(anatomy, generator=generator, voxels=(_SIDE, _SIDE), lesions=lesions)


def measured(
    phantom: Phantom,
    model: SignalModel,
    acceleration: float,
    seed: int,
    *,
    snr: float = _SNR,
    other: bool = False,
) -> Measurement:
    """Undersampled k-space of 4 coils: Poisson discs for flip angles, lines for echoes; ``other`` exchanges them."""
    generator = torch.Generator().manual_seed(seed)
    maps = synthetic_sensitivities((_SIDE, _SIDE), 4, generator=generator)
    contrasts = model.acquisition.contrasts
    if isinstance(model, SpoiledGradientEcho) != other:
        mask = poisson_disc((_SIDE, _SIDE), contrasts, acceleration, generator=generator)
    else:
        mask = variable_density_lines(_SIDE, contrasts, acceleration, generator=generator)[:, None, :]
    return acquire(phantom, model, CartesianEncoding(maps, mask), snr=snr, generator=generator)


def solid(phantom: Phantom) -> Tensor:
    """(*voxels) bool: voxels of grey or white matter; of ellipses all."""
    if phantom.fractions is None:
        return phantom.mask
    rows = [i for i, n in enumerate(phantom.names[1:]) if n in ("grey matter", "white matter", "lesion")]
    return phantom.mask & (phantom.fractions[rows].sum(0) > _SOLID)


def compared(
    case: str,
    model: SignalModel,
    methods: Mapping[str, Estimator],
    scans: Iterable[tuple[Phantom, Measurement]],
) -> list[Result]:
    """nRMSE of the model's second parameter, k-space residual and seconds of methods on the same scans."""
    quantity = model.parameters[1].name
    tissue: dict[str, list[float]] = {m: [] for m in methods}
    errors: dict[str, list[float]] = {m: [] for m in methods}
    misfits: dict[str, list[float]] = {m: [] for m in methods}
    seconds: dict[str, list[float]] = {m: [] for m in methods}
    fluid = False
    for phantom, measurement in scans:
        inside = solid(phantom)
        fluid = fluid or phantom.fractions is not None
        for name, method in methods.items():
            begin = time.process_time()
            maps = method.estimate(measurement)
            seconds[name].append(time.process_time() - begin)
            value, truth = maps[quantity].value, phantom.maps[quantity]
            tissue[name].append(relative_error(value, truth, inside))
            errors[name].append(relative_error(value, truth, phantom.mask))
            misfits[name].append(100 * relative_residual(model, maps, measurement))
    results = []
    for name in methods:
        results.append(Result.over(case, name, quantity, "nRMSE", "%", tissue[name]))
        if fluid:
            # fluid's long times, which the echoes barely tell, would hide all else
            results.append(Result.over(case, name, quantity, "nRMSE with fluid", "%", errors[name]))
        results.append(Result.over(case, name, "k-space", "residual", "%", misfits[name]))
        results.append(Result.over(case, name, "time", "CPU", "s", seconds[name]))
    return results


def classical(model: SignalModel) -> dict[str, Estimator]:
    """What networks are compared with."""
    return {
        "model-based": ModelBased(model),
        "llr + fit": TwoStep(LocallyLowRank(), least_squares(model)),
        "zero-filled + fit": TwoStep(ZeroFilled(), least_squares(model)),
    }


def kspace_results(
    model: SignalModel,
    methods: Mapping[str, Estimator],
    *,
    seeds: int = 3,
    phantoms: int = 4,
    shifts: bool = True,
    kinds: tuple[str, ...] = ("ellipses", "brain"),
    progress: Progress | None = None,
) -> list[Result]:
    """Networks and classical methods on held-out objects, see `compared`.

    Args:
        model: A.
        methods: networks by name.
        seeds: of noise and sampling, for each object.
        phantoms: objects of each kind.
        shifts: also cases outside the training range.
        kinds: of objects; ``brain`` needs data.
        progress: called with (cases done, in all).
    """
    everyone = {**methods, **classical(model)}
    high = 7.0 if isinstance(model, SpoiledGradientEcho) else 8.0
    cases: dict[str, tuple[str, Callable[[Phantom, int], Measurement], int]] = {}
    for kind in kinds:
        for r in (5.0, high):
            cases[f"{kind}, R {r:g}"] = kind, lambda p, s, r=r: measured(p, model, r, s), 0  # type: ignore[misc]
    if shifts:
        cases[SHIFT + "brain, R 5, SNR 20"] = "brain", lambda p, s: measured(p, model, 5.0, s, snr=20.0), 0
        cases[SHIFT + "brain, R 5, other masks"] = (
            "brain",
            lambda p, s: measured(p, model, 5.0, s, other=True),
            0,
        )
        cases[SHIFT + "brain, R 5, lesions"] = "brain", lambda p, s: measured(p, model, 5.0, s), 3
    results = []
    for done, (case, (kind, make, lesions)) in enumerate(cases.items()):
        objects = [judged_object(kind, number, lesions) for number in range(phantoms)]
        scans = [
            (phantom, make(phantom, 100_000 + 100 * number + seed))
            for number, phantom in enumerate(objects)
            for seed in range(seeds if not case.startswith(SHIFT) else 1)
        ]
        results += compared(case, model, everyone, scans)
        if progress:
            progress(done + 1, len(cases))
    return results


def relative_residual(model: SignalModel, maps: ParameterMaps, measurement: Measurement) -> float:
    """||E ρ - y|| / ||y|| of maps without phase; the phase of each voxel is the one that fits y best."""
    encoding = encoding_of(measurement)
    values = [maps[model.parameters[i].name].value.nan_to_num() for i in model.estimated]
    low, high = model.parameters[1].bounds
    values[1] = values[1].clamp(low, high)
    known = {n: v.float() for n, v in measurement.known.items()}
    signal = model(model.complete(torch.stack(values), known))
    back = encoding.zero_filled(measurement.data)
    turn = (signal * back).sum(0)
    images = signal * turn / turn.abs().clamp_min(1e-30)
    difference = encoding(images.to(measurement.data.dtype)) - measurement.data
    return float(difference.norm() / measurement.data.norm())
