"""Model-based reconstruction beside two-step methods, and beside BART's: errors with intervals over phantoms, CPU time.

    python benchmarks/model_based.py study --model t2 --phantoms 10 --seeds 3
    python benchmarks/model_based.py bart --model t1 --phantoms 3

Phantoms of the report have seeds from 1000 on; every method's weight was tuned, or is tuned here (BART), on others.
One thread each. CPU seconds count all threads and child processes; those of BART include reading and writing its files.
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from bart_tools import bart, read_cfl, write_cfl
from timing import cpu_seconds

from fastqmri.core import LookLocker, Measurement, MultiEchoSpinEcho, VariableFlipAngle
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
from fastqmri.physics.signal import ExponentialDecay, LookLockerSignal, SignalModel, SpoiledGradientEcho

ECHO_TIMES = (0.007, 0.016, 0.025, 0.034, 0.043, 0.052, 0.062, 0.071)
TUNING, REPORTED = 100, 1000
WEIGHTS = (0.001, 0.003, 0.01, 0.03)


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


class Bart:
    """One scan in BART's layout, (x, y, 1, coil, 1, contrast), in a folder of its own."""

    def __init__(self, measurement: Measurement, times: torch.Tensor, folder: str) -> None:
        self.folder = Path(folder)
        encoding = measurement.encoding
        assert isinstance(encoding, CartesianEncoding)
        side = measurement.voxels[0]
        self.voxels = measurement.voxels
        samples = measurement.data.numpy().transpose(2, 3, 1, 0)[:, :, None, :, None, :] * side
        pattern = encoding.mask.numpy().transpose(1, 2, 0)[:, :, None, None, None, :]
        write_cfl(self.folder / "ksp", samples)
        write_cfl(self.folder / "psf", np.broadcast_to(pattern, (*self.voxels, 1, 1, 1, pattern.shape[-1])))
        write_cfl(self.folder / "times", times.numpy().reshape(1, 1, 1, 1, 1, -1))
        write_cfl(self.folder / "sens", encoding.sensitivities.numpy().transpose(1, 2, 0)[:, :, None])

    def moba(self, kind: str, weight: float) -> torch.Tensor:
        flags = ["-L", "-B", "0.3"] if kind == "t1" else ["-F"]
        bart(
            self.folder,
            "moba",
            *flags,
            "-l1",
            "-j",
            weight,
            "-i",
            10,
            "-C",
            30,
            "-f",
            1,
            "-p",
            "psf",
            "ksp",
            "times",
            "out",
        )
        if kind == "t1":
            bart(self.folder, "looklocker", "-t0.", "-D0.", "out", "map")
            return torch.from_numpy(np.abs(read_cfl(self.folder / "map")))
        out = read_cfl(self.folder / "out")  # the second map is the rate in units of 10 / s
        return torch.from_numpy(0.1 / np.maximum(np.abs(out[..., 1]), 1e-6))

    def pics(self, weight: float) -> torch.Tensor:
        bart(self.folder, "pics", "-S", f"-RW:3:32:{weight}", "-i", 60, "ksp", "sens", "rec")
        return torch.from_numpy(
            read_cfl(self.folder / "rec").reshape(*self.voxels, -1).transpose(2, 0, 1).copy()
        )


def bart_scan(kind: str, side: int, seed: int) -> tuple[SignalModel, Phantom, Measurement, torch.Tensor]:
    """Look-Locker or spin echoes of a textured phantom, 8 coils, 24 of 128 lines in each contrast."""
    g = torch.Generator().manual_seed(seed)
    phantom = ellipses((side, side), generator=g)
    if kind == "t1":
        times = torch.linspace(0.02, 4.0, 20, dtype=torch.float64)
        model: SignalModel = LookLockerSignal(LookLocker(inversion_time=tuple(times.tolist())))
        t1 = torch.where(phantom.mask, phantom.maps["T1"], 1.0)
        driven = 1 / (1 / t1 - math.log(math.cos(math.radians(6))) / 0.0041)
        signed = model.signed()
        assert signed is not None
        images = signed(torch.stack([phantom.maps["M0"], t1, driven]))
    else:
        times = 0.01 * torch.arange(1, 17, dtype=torch.float64)
        model = ExponentialDecay(MultiEchoSpinEcho(echo_time=tuple(times.tolist())))
        images = phantom.signal(model)
    maps = synthetic_sensitivities((side, side), 8, generator=g)
    lines = variable_density_lines(side, len(times), 128 / 24, generator=g, centre=8, decay=0)
    encoding = CartesianEncoding(maps, lines[:, None, :])
    clean = encoding(images.to(torch.complex64))
    noise = float(images[:, phantom.mask].abs().max()) / 200
    white = torch.randn(clean.shape, dtype=clean.dtype, generator=g) * 2**0.5 * noise
    data = clean + encoding.sampling(white)
    measurement = Measurement(data, model.acquisition, mask=phantom.mask, noise=noise, encoding=encoding)
    return model, phantom, measurement, times


def against_bart(arguments: argparse.Namespace) -> None:
    kind, name = arguments.model, arguments.model.upper()
    tools = {"pics + our fit": WEIGHTS}
    if not arguments.without_moba:
        tools["moba"] = WEIGHTS[1:] if arguments.tune_moba else (0.01,)
    weights = {tool: grid[0] for tool, grid in tools.items()}

    def run(tool: str, weight: float, scan: tuple) -> tuple[float, float]:
        model, phantom, measurement, times = scan
        with tempfile.TemporaryDirectory() as folder:
            theirs = Bart(measurement, times, folder)
            begin = cpu_seconds()
            if tool == "moba":
                found = theirs.moba(kind, weight)
            else:
                images = Measurement(theirs.pics(weight).abs(), model.acquisition, mask=measurement.mask)
                found = least_squares(model).estimate(images)[name].value
            return error(found, phantom, name), cpu_seconds() - begin

    tuning = bart_scan(kind, arguments.side, TUNING)
    ModelBased(tuning[0], draws=1).estimate(tuning[2])  # compiles
    for tool, grid in tools.items():
        if len(grid) > 1:
            weights[tool] = min(grid, key=lambda w: run(tool, w, tuning)[0])
    ours: dict[str, Callable[[SignalModel], ModelBased]] = {
        "model-based": lambda m: ModelBased(m),
        "model-based, no draws": lambda m: ModelBased(m, draws=0),
    }
    errors: dict[str, list[float]] = {t: [] for t in (*ours, *tools)}
    seconds: dict[str, list[float]] = {t: [] for t in errors}
    for number in range(arguments.phantoms):
        scan = bart_scan(kind, arguments.side, REPORTED + number)
        for label, build in ours.items():
            begin = cpu_seconds()
            found = build(scan[0]).estimate(scan[2])[name].value
            seconds[label].append(cpu_seconds() - begin)
            errors[label].append(error(found, scan[1], name))
        for tool in tools:
            e, s = run(tool, weights[tool], scan)
            errors[tool].append(e)
            seconds[tool].append(s)
    print(
        f"{name}, {arguments.side}^2, 8 coils (true maps; moba estimates its own), {arguments.phantoms} phantoms"
    )
    for label in errors:
        chosen = f"weight {weights[label]:g}" if label in weights else ""
        print(f"{label:24s} nRMSE % {interval(errors[label])}   {interval(seconds[label])} CPU s   {chosen}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["study", "bart"])
    parser.add_argument("--model", choices=["t1", "t2"], default="t2")
    parser.add_argument("--phantoms", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--without-moba", action="store_true")
    parser.add_argument("--tune-moba", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    {"study": study, "bart": against_bart}[arguments.what](arguments)


if __name__ == "__main__":
    main()
