"""Matching of fingerprints: the bars of accuracy, on the schedules that the package ships."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fastqmri.core import Fingerprinting
from fastqmri.estimators.matching import Matching
from fastqmri.physics.spins import FingerprintingSignal, schedule

AXES = {"T1": "100:20:2000,2040:60:3960ms", "T2": "10:4:150,160:20:600ms"}
SEARCHES = ("exact", "full", "compressed", "grouped")


def _tissue(model: FingerprintingSignal, voxels: int, generator: torch.Generator) -> torch.Tensor:
    """(parameter, voxel): T1 over its logarithm from 0.2 to 3.5 s, T2 from 20 to 400 ms, off the grid."""
    x = torch.ones(len(model.parameters), voxels, dtype=torch.float64)
    u, v = torch.rand(2, voxels, generator=generator, dtype=torch.float64)
    x[1] = 0.2 * 17.5**u
    x[2] = torch.minimum(0.02 * 20**v, 0.9 * x[1])
    return x


@pytest.mark.parametrize(
    ("name", "signal"), [("drone-25", "magnitude"), ("drone-epi-25", "real"), ("irfisp-500", "real")]
)
def test_every_atom_is_found_and_the_forms_agree(name: str, signal: str, generator: torch.Generator) -> None:
    """All 7242 noiseless atoms; 2000 voxels off the grid at peak SNR 50."""
    acquisition = schedule(name)
    assert isinstance(acquisition, Fingerprinting)
    model = FingerprintingSignal(acquisition, signal)  # type: ignore[arg-type]
    matchers = {search: Matching(search, axes=AXES).matcher(model, {}) for search in SEARCHES}  # type: ignore[arg-type]
    grid = matchers["full"].dictionary.grid
    assert grid.count == 7242
    atoms = model(grid.points)
    clean = model(_tissue(model, 2000, generator))
    noisy = clean + clean.abs().amax() / 50 * torch.randn(
        clean.shape, generator=generator, dtype=torch.float64
    )
    found = {search: matcher.find(noisy) for search, matcher in matchers.items()}
    for search, matcher in matchers.items():
        recovered = float((matcher.find(atoms) == torch.arange(7242)).double().mean())
        agreement = float((found[search] == found["full"]).double().mean())
        print(
            f"{name} {signal} {search}: {100 * recovered:.2f} % of atoms, {100 * agreement:.2f} % as in full"
        )
        assert recovered == 1.0 if search in ("exact", "full") else recovered >= 0.99
        assert agreement == 1.0 if search in ("exact", "full") else agreement >= 0.99


def test_the_phantoms_maps_come_back(test_data: Callable[[str], Path], generator: torch.Generator) -> None:
    """The fingerprints of a scan's own 1000-TR schedule and T1, T2 maps: measured maps as truth, SNR 50.

    The maps themselves are the phantom's by fingerprinting; there are no signals in the set. Simulated with the real
    schedule at those values and matched, they must come back within the grid's step and noise.
    """
    folder = test_data("mrf_nist_phantom_maps_and_schedule")
    maps, told = np.load(folder / "mrf_maps_s.npz"), np.load(folder / "schedule.npz")
    acquisition = Fingerprinting(
        flip_angle=tuple(np.deg2rad(told["FA_deg"]).tolist()),
        repetition_time=tuple(told["TR_s"].tolist()),
        echo_time=tuple(told["TE_s"].tolist()),
        inversion_time=0.018,
    )
    model = FingerprintingSignal(acquisition, "real")
    t1, t2 = (torch.from_numpy(maps[name].astype(np.float64)).flatten() for name in ("T1", "T2"))
    inside = (t1 > 0.05) & (t1 < 3.5) & (t2 > 0.006) & (t2 < 0.55) & (t2 < 0.95 * t1)
    chosen = inside.nonzero()[:, 0][::20]
    x = torch.ones(len(model.parameters), len(chosen), dtype=torch.float64)
    x[1], x[2] = t1[chosen], t2[chosen]
    signal = model(x)
    sigma = float(signal.abs().max()) / 50
    noisy = signal + sigma * torch.randn(signal.shape, generator=generator, dtype=torch.float64)
    matcher = Matching(axes={"T1": 70, "T2": 60}).matcher(model, {})
    grid = matcher.dictionary.grid
    clean_found, noisy_found = matcher.find(signal), matcher.find(noisy)
    print(f"{len(chosen)} voxels of the phantom, {grid.describe()}")
    for row, name in ((1, "T1"), (2, "T2")):
        steps = (grid.points[row, clean_found] - x[row]).abs() / grid.step[row, clean_found]
        error = (grid.points[row, noisy_found] / x[row] - 1).abs()
        print(
            f"{name}: noiseless median {steps.median():.2f}, 95 % {steps.quantile(0.95):.2f} steps;"
            f" SNR 50 median error {100 * error.median():.2f} %"
        )
        assert float(steps.quantile(0.95)) <= 1.0
        assert float(error.median()) < 0.05
