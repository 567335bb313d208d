"""qMTNet beside least squares and the Cramér-Rao bound: errors, correlation, and time a voxel.

    FASTQMRI_TEST_DATA=../shared/data python benchmarks/methods/qmtnet.py [--seeds 3] [--scan]

Prints the table of every variant on the held-out brain and on what networks may not expect, then the time a voxel takes
on one thread: the networks, this package's least squares, and least squares of SciPy voxel by voxel, which is what
published speed-ups are relative to. With ``--scan``, what becomes of a real scan of
ten images.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import least_squares as scipy_least_squares

from fastqmri.core import FastqmriError, Measurement, ParameterMaps
from fastqmri.estimators import CATALOGUE
from fastqmri.estimators.least_squares import least_squares
from fastqmri.io import read_image
from fastqmri.learning.evaluation import as_text
from fastqmri.learning.transfer_samples import lone_voxels
from fastqmri.methods import load, method, qmtnet
from fastqmri.physics.signal import RamaniSignal

VOXELS, SLOW = 20000, 12


def tables(seeds: int) -> None:
    """Errors of all variants that have weights."""
    for entry in method("qmtnet").recipes:
        trained = load(entry.name)
        print(as_text(trained.recipe.evaluate(trained.network, trained.card, seeds=seeds)), flush=True)


def times() -> None:
    """Microseconds a voxel, median of five, of one thread."""
    generator = torch.Generator().manual_seed(1000)
    model = RamaniSignal(qmtnet.TWELVE, normalised=True, water="measured")
    images, maps = lone_voxels(model, VOXELS, generator=generator)
    images = images + 0.002 * torch.randn(images.shape, generator=generator)
    truth = dict(zip(("F", "kf", "T2r", "R1", "T2f"), maps, strict=False))
    known = {name: truth[name] for name in ("R1", "T2f")}
    rows: list[tuple[str, float]] = []
    for name, picked in (("qmtnet-fit", list(range(12))), ("qmtnet-direct", list(qmtnet.MEASURED))):
        trained = load(name)
        predict = trained.network.predictor()  # type: ignore[operator]
        data = images[picked].contiguous()
        measurement = Measurement(data, trained.recipe.model.acquisition, known=known, noise=0.002)  # type: ignore[attr-defined]
        rows.append((f"{name}, network alone", _median(lambda: predict(data, known)) / VOXELS))  # noqa: B023
        estimator = trained.recipe.build(trained.network, trained.card)
        label = f"{name}, with standard deviations, residual, flags"
        rows.append((label, _median(lambda: estimator.estimate(measurement)) / VOXELS))  # noqa: B023
        fitted = least_squares(trained.recipe.model)  # type: ignore[attr-defined]
        label = f"nlls of this package, {len(picked)} images"
        rows.append((label, _median(lambda: fitted.estimate(measurement), 1) / VOXELS))  # noqa: B023
    rows.append(
        ("SciPy's trust-region least squares, voxel by voxel, 12 images", _scipy(model, images, known))
    )
    network = rows[0][1]
    for label, seconds in rows:
        print(f"{label:66s} {1e6 * seconds:12.2f} us   {seconds / network:9.1f} x the network for 12 images")


def _scipy(model: RamaniSignal, images: torch.Tensor, known: dict[str, torch.Tensor]) -> float:
    """Seconds a voxel; numerical derivatives, the model's own formula, starts and bounds of this package."""
    free = [model.parameters[i] for i in model.estimated]
    low, high = (np.array([p.bounds[k] for p in free]) for k in (0, 1))
    scale = np.array([0.1, 30.0, 1e-5])
    begin = time.perf_counter()
    for voxel in range(SLOW):
        own = {name: value[voxel : voxel + 1].double() for name, value in known.items()}
        data = images[:, voxel].double().numpy()

        def residual(
            z: np.ndarray, own: dict[str, torch.Tensor] = own, data: np.ndarray = data
        ) -> np.ndarray:
            x = model.complete(torch.from_numpy(z * scale)[:, None], own)
            return np.asarray(model.forward(x)[:, 0].numpy() - data)

        start = np.array([0.16, 30.0, 13e-6]) / scale
        scipy_least_squares(residual, start, bounds=(low / scale, high / scale))
    return (time.perf_counter() - begin) / SLOW


def _median(run: Callable[[], object], repeats: int = 5) -> float:
    run()
    spent = []
    for _ in range(repeats):
        begin = time.perf_counter()
        run()
        spent.append(time.perf_counter() - begin)
    return statistics.median(spent)


def scan() -> None:
    """A real brain of ten images: refused by one card, inside another, and by least squares."""
    folder = Path(os.environ["FASTQMRI_TEST_DATA"]) / "brain_qmt_spgr_qmrlab_left"
    read = {
        part: read_image(folder / f"qmt_spgr{part}.nii.gz").data.squeeze()
        for part in ("", "_B0map", "_B1map", "_R1map", "_mask")
    }
    known = {"B0": read["_B0map"], "B1": read["_B1map"], "R1": read["_R1map"]}
    measurement = Measurement(read[""].movedim(-1, 0), qmtnet.TEN, mask=read["_mask"] > 0, known=known)
    for name in ("qmtnet-fit", "qmtnet-ten"):
        trained = load(name)
        for finishing in (0, 10):
            try:
                maps = trained.recipe.build(trained.network, trained.card, finishing=finishing).estimate(
                    measurement
                )
            except FastqmriError as error:
                print(f"{name}: {error}")
                break
            _tell(f"{name}, {finishing} steps", maps)
    entry = CATALOGUE["qmt"]
    maps = entry.estimator(entry.build(qmtnet.TEN, normalised=True)).estimate(measurement)
    _tell("nlls", maps)


def _tell(label: str, maps: ParameterMaps) -> None:
    assert maps.residual is not None
    numbers = [maps[name].value.nanmedian() for name in ("F", "kf")] + [maps.residual.nanmedian()]
    f, kf, residual = (float(number) for number in numbers)
    print(
        f"{label}: medians F {f:.3g}, kf {kf:.3g} 1/s, residual {residual:.3g}; {int(maps.trusted.sum())} trusted"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--scan", action="store_true")
    parser.add_argument("--no-tables", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if not chosen.no_tables:
        tables(chosen.seeds)
    times()
    if chosen.scan:
        scan()
