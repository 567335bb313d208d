"""Unrolled networks beside the model-based reconstruction, on held-out objects in one run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from fastqmri.core import Estimator, Measurement, Progress
from fastqmri.estimators.least_squares import least_squares
from fastqmri.estimators.reconstruction import LocallyLowRank, ModelBased, TwoStep, ZeroFilled
from fastqmri.learning.evaluation import SHIFT, Result, relative_error
from fastqmri.phantoms import Phantom, acquire, brain, ellipses, load_anatomy
from fastqmri.physics.encoding import (
    CartesianEncoding,
    poisson_disc,
    synthetic_sensitivities,
    variable_density_lines,
)
from fastqmri.physics.signal import SignalModel, SpoiledGradientEcho

_SIDE = 64
_SNR = 60.0
_HELD_OUT = 1000
_SOLID = 0.95


def held_out(kind: str, number: int, lesions: int = 0) -> Phantom:
    """A held-out object: ``ellipses`` or ``brain``."""
    generator = torch.Generator().manual_seed(_HELD_OUT + number)
    if kind == "ellipses":
        return ellipses((_SIDE, _SIDE), generator=generator)
    anatomy = load_anatomy("brainweb-06", os.environ.get("FASTQMRI_TEST_DATA"))
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


def unrolled_results(
    model: SignalModel,
    quantity: str,
    methods: Mapping[str, Estimator],
    *,
    seeds: int = 3,
    phantoms: int = 4,
    shifts: bool = True,
    two_step: bool = True,
    progress: Progress | None = None,
) -> list[Result]:
    """nRMSE and seconds of networks, the model-based reconstruction and two-step methods.

    Args:
        model: A.
        quantity: parameter to judge.
        methods: networks by name.
        seeds: of noise and sampling, for each object.
        phantoms: objects of each kind.
        shifts: also cases outside the training range.
        two_step: also image reconstructions followed by a fit.
        progress: called with (cases done, in all).
    """
    everyone: dict[str, Estimator] = {
        **methods,
        "model-based": ModelBased(model),
    }
    if two_step:
        everyone["llr + fit"] = TwoStep(LocallyLowRank(), least_squares(model))
        everyone["zero-filled + fit"] = TwoStep(ZeroFilled(), least_squares(model))
    high = 7.0 if isinstance(model, SpoiledGradientEcho) else 8.0
    cases: dict[str, tuple[str, Callable[[Phantom, int], Measurement], int]] = {}
    for kind in ("ellipses", "brain"):
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
        errors: dict[str, list[float]] = {m: [] for m in everyone}
        tissue: dict[str, list[float]] = {m: [] for m in everyone}
        seconds: dict[str, list[float]] = {m: [] for m in everyone}
        for number in range(phantoms):
            phantom = held_out(kind, number, lesions)
            for seed in range(seeds if not case.startswith(SHIFT) else 1):
                measurement = make(phantom, 100_000 + 100 * number + seed)
                for name, method in everyone.items():
                    begin = time.process_time()
                    value = method.estimate(measurement)[quantity].value
                    seconds[name].append(time.process_time() - begin)
                    errors[name].append(relative_error(value, phantom.maps[quantity], phantom.mask))
                    tissue[name].append(relative_error(value, phantom.maps[quantity], solid(phantom)))
        for name in everyone:
            results.append(Result.over(case, name, quantity, "nRMSE", "%", tissue[name]))
            if kind == "brain":
                # fluid's long times, which the echoes barely tell, would hide all else
                results.append(Result.over(case, name, quantity, "nRMSE with fluid", "%", errors[name]))
            results.append(Result.over(case, name, "time", "CPU", "s", seconds[name]))
        if progress:
            progress(done + 1, len(cases))
    return results
