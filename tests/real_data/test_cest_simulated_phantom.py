"""Another group's simulated 5-pool phantom: Z-spectra at four amide fractions, reproduced to their noise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fastqmri.core import SaturationTransfer
from fastqmri.physics.spins.bloch_mcconnell import Pools, saturation_signal

BOUNDARIES = (0.695, 0.712, 0.731)
"""Of the signal at 3.5 ppm, between the four vials."""


def _spectra(folder: Path) -> tuple[np.ndarray, np.ndarray, float]:
    """Offsets, mean spectra (offset, vial) with the most amide last, and the noise of these means."""
    held = np.load(folder / "zspec.npz")
    offsets = held["offsets_ppm"]
    voxels = held["img"][held["img"].sum(-1) > 0].astype(float)
    place = int(np.argmin(np.abs(offsets - 3.5)))
    vial = 3 - np.digitize(voxels[:, place], BOUNDARIES)
    groups = [voxels[vial == i] for i in range(4)]
    noise = np.mean([group.std(0).mean() / np.sqrt(len(group)) for group in groups])
    return offsets, np.stack([group.mean(0) for group in groups], 1), float(noise)


def _simulated(offsets: np.ndarray, amide_rate: float = 50.0) -> np.ndarray:
    """Only the amide fractions are documented. The rest is round numbers that a fit of the spectra came close to.

    3 T, 0.8 µT for 2 s, 6.5 ms of spoiling; water T1 1 s, T2 40 ms; the white matter of the Pulseq-CEST library but
    for guanidinium's 100/s, NOE at -3.5 ppm, and macromolecules at -2.5 ppm with transverse magnetisation (T2 40 µs).
    """
    acquisition = SaturationTransfer(
        offset=tuple(offsets),
        saturation_b1=0.8,
        pulse_duration=2.0,
        recovery_time=0.0,
        field_strength=3.0,
        spoil_time=0.0065,
    )

    def column(value: float) -> Tensor:
        return torch.full((4,), value, dtype=torch.float64)

    amide = 0.0009009 * torch.arange(1, 5, dtype=torch.float64)
    pools = Pools(
        r1=[column(1 / t) for t in (1.0, 1.0, 1.0, 1.3, 1.0)],
        r2=[column(1 / t) for t in (0.04, 0.1, 0.1, 0.005, 4e-5)],
        fraction=[amide, *map(column, (0.0009009, 0.0045, 0.1351))],
        rate=[column(k) for k in (amide_rate, 100.0, 20.0, 30.0)],
        shift=[column(d) for d in (3.5, 2.0, -3.5, -2.5)],
    )
    return saturation_signal(acquisition, pools, column(0.0), column(1.0)).numpy()


def test_spectra_are_reproduced(test_data: Callable[[str], Path]) -> None:
    """86 offsets, means of 797 voxels in each of four vials: what is left is noise."""
    offsets, measured, noise = _spectra(test_data("cest_5pool_bm_simulated_phantom"))
    left = _simulated(offsets) - measured
    size = float(np.sqrt((left**2).mean()))
    print(
        f"5-pool phantom: residual {size:.2e} (largest {np.abs(left).max():.1e}), noise of the means {noise:.2e}"
    )
    assert size <= 1.1 * noise
    assert np.abs(left).max() <= 5 * noise


def test_other_tissue_is_told_apart(test_data: Callable[[str], Path]) -> None:
    """Two percent of the amide's exchange rate stand out of the noise."""
    offsets, measured, noise = _spectra(test_data("cest_5pool_bm_simulated_phantom"))
    left = _simulated(offsets, amide_rate=51.0) - measured
    assert float(np.sqrt((left**2).mean())) > 1.5 * noise
