"""Model-based reconstruction beside two-step methods: errors with intervals over phantoms, CPU time.

    python benchmarks/model_based.py --model t2 --phantoms 10 --seeds 3

Phantoms of the report have seeds from 1000 on; every method's weight was tuned on others. One thread each.
`model_based_peers.py` compares with other programs.
"""

from __future__ import annotations

import argparse
import math
import os

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from timing import cpu_seconds

from fastqmri.core import MultiEchoSpinEcho, VariableFlipAngle
from fastqmri.estimators.least_squares import least_squares
from fastqmri.estimators.reconstruction import (
    LocallyLowRank,
    ModelBased,
    SubspaceLowRank,
    TwoStep,
    ZeroFilled,
)
from fastqmri.phantoms import Phantom, acquire, ellipses
from fastqmri.physics.encoding import (
    CartesianEncoding,
    poisson_disc,
    synthetic_sensitivities,
    variable_density_lines,
)
from fastqmri.physics.signal import ExponentialDecay, SignalModel, SpoiledGradientEcho

ECHO_TIMES = (0.007, 0.016, 0.025, 0.034, 0.043, 0.052, 0.062, 0.071)
REPORTED = 1000


def study_model(name: str) -> tuple[SignalModel, str, tuple[float, float]]:
    if name == "t2":
        return ExponentialDecay(MultiEchoSpinEcho(echo_time=ECHO_TIMES)), "T2", (5.0, 8.0)
    angles = tuple(math.radians(a) for a in (3, 5, 8, 11, 15, 20))
    acquisition = VariableFlipAngle(flip_angle=angles, repetition_time=0.0052)
    return SpoiledGradientEcho(acquisition), "T1", (5.0, 7.0)


def sampling(name: str, side: int, contrasts: int, acceleration: float, g: torch.Generator) -> torch.Tensor:
    """Lines for spin echoes, a Poisson disc in both directions for the volume's gradient echoes."""
    if name == "t1":
        return poisson_disc((side, side), contrasts, acceleration, generator=g)
    return variable_density_lines(side, contrasts, acceleration, generator=g)[:, None, :]


def error(value: torch.Tensor, phantom: Phantom, name: str) -> float:
    truth, inside = phantom.maps[name], phantom.mask
    difference = (value.double().nan_to_num() - truth)[inside]
    return 100 * float(difference.norm() / truth[inside].norm())


def interval(values: list[float]) -> str:
    spread = 1.96 * float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{np.mean(values):6.2f} ± {spread:4.2f}"


def study(arguments: argparse.Namespace) -> None:
    model, name, accelerations = study_model(arguments.model)
    side = 64
    methods = {
        "zero-filled + fit": TwoStep(ZeroFilled(), least_squares(model)),
        "llr + fit": TwoStep(LocallyLowRank(), least_squares(model)),
        "subspace-llr + fit": TwoStep(SubspaceLowRank(model), least_squares(model)),
        "model-based": ModelBased(model),
        "model-based, adam": ModelBased(model, solver="adam"),
        "model-based, wavelet": ModelBased(model, penalty="wavelet"),
    }
    methods = {m: method for m, method in methods.items() if not arguments.methods or m in arguments.methods}
    print(
        f"{name}, {side}^2, 4 coils, SNR 60, {arguments.phantoms} phantoms x {arguments.seeds} seeds of noise and"
    )
    print(
        "sampling; nRMSE % in the mask, mean ± 1.96 standard errors; (error/standard deviation): rms, CPU s a slice"
    )
    for acceleration in accelerations:
        errors: dict[str, list[float]] = {m: [] for m in methods}
        scores: dict[str, list[float]] = {m: [] for m in methods}
        seconds: dict[str, list[float]] = {m: [] for m in methods}
        for number in range(arguments.phantoms):
            phantom = ellipses((side, side), generator=torch.Generator().manual_seed(REPORTED + number))
            for seed in range(arguments.seeds):
                g = torch.Generator().manual_seed(100_000 + 100 * number + seed)
                maps = synthetic_sensitivities((side, side), 4, generator=g)
                mask = sampling(arguments.model, side, model.acquisition.contrasts, acceleration, g)
                measurement = acquire(phantom, model, CartesianEncoding(maps, mask), snr=60, generator=g)
                for label, method in methods.items():
                    begin = cpu_seconds()
                    found = method.estimate(measurement)[name]
                    seconds[label].append(cpu_seconds() - begin)
                    errors[label].append(error(found.value, phantom, name))
                    score = (found.value - phantom.maps[name]) / found.standard_deviation
                    scores[label].append(float(score[phantom.mask].nan_to_num().square().mean().sqrt()))
        for label in methods:
            print(
                f"R {acceleration:g}  {label:22s} {interval(errors[label])}   "
                f"{np.median(scores[label]):6.2f}   {np.median(seconds[label]):6.2f} s",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=["t1", "t2"], default="t2", help="flip angles or spin echoes (t2)")
    parser.add_argument("--phantoms", type=int, default=10, help=f"seeds from {REPORTED} on (10)")
    parser.add_argument("--seeds", type=int, default=3, help="of noise and sampling, each phantom (3)")
    parser.add_argument("--methods", nargs="*", help="names as printed (all)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    study(arguments)


if __name__ == "__main__":
    main()
