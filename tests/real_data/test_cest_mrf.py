"""L-arginine phantoms fingerprinted at 9.4 T and at 3 T: matching against another group's dot-product maps."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from fastqmri.core import SaturationTransfer
from fastqmri.physics.spins import ChemicalExchange, schedule

MILLIMOLAR = 3 / 110_000
"""Fraction of a millimole per litre: three protons a molecule."""


def _as_simulated_there() -> SaturationTransfer:
    """The preclinical scans as that group simulated them: nothing is spoiled, and phases count.

    The irradiation's frequency is the 1200.65 Hz of a sequence file's six digits, and the readout's phase is zero.
    """
    cycles = -1200.65 * 3.0
    return schedule("cest-mrf-arginine").model_copy(
        update={
            "spoiled_saturation": False,
            "spoiled_readouts": False,
            "readout_phase": 2 * math.pi * (cycles % 1),
        }
    )


def _dictionary(acquisition: SaturationTransfer, *ranges: tuple[float, float, float]) -> tuple[Tensor, ...]:
    """Unit atoms (contrast, atom), their k, concentration: grids of k, concentration, T1 and T2 of water."""
    axes = [torch.arange(low, high + step / 2, step, dtype=torch.float64) for low, high, step in ranges]
    k, c, t1, t2 = (axis.reshape(-1) for axis in torch.meshgrid(*axes, indexing="ij"))
    one = torch.ones_like(k)
    model = ChemicalExchange(acquisition, "l-arginine", water="fitted")
    signal = model(torch.stack([one, c * MILLIMOLAR, k, t1, t2, 0 * one, one]))
    return (signal / signal.norm(dim=0)).float(), k, c


def _match(atoms: Tensor, data: Tensor) -> Tensor:
    return torch.cat([(part.T @ atoms).argmax(1) for part in (data / data.norm(dim=0)).split(128, 1)])


@pytest.mark.parametrize(
    ("name", "acquisition", "t1", "t2"),
    [
        ("preclinical", _as_simulated_there, (2.5, 3.3, 0.2), (0.6, 1.2, 0.1)),
        ("clinical3T", lambda: schedule("cest-mrf-arginine-3t"), (2.7, 3.1, 0.2), (0.4, 1.3, 0.1)),
    ],
)
def test_maps_of_another_group(
    name: str,
    acquisition: Callable[[], SaturationTransfer],
    t1: tuple[float, float, float],
    t2: tuple[float, float, float],
    test_data: Callable[[str], Path],
) -> None:
    """All voxels of the vials; the published grid, thinned in k, T1 and T2."""
    held = np.load(test_data("cest_mrf_larginine_phantoms") / f"{name}.npz")
    mask = held["mask"]
    frames = np.nan_to_num(held["frames"])
    margin = (frames.shape[1] - mask.shape[0]) // 2  # the clinical maps are of the middle rows
    data = torch.from_numpy(frames[:, margin : margin + mask.shape[0]][:, mask]).float()
    atoms, k, c = _dictionary(acquisition(), (100.0, 1400.0, 20.0), (10.0, 120.0, 5.0), t1, t2)
    best = _match(atoms, data)
    apart = {}
    for what, values, theirs in (
        ("exchange rate", k, held["peer_ksw"][mask]),
        ("concentration", c, held["peer_fs"][mask] / MILLIMOLAR),
    ):
        found = values[best].numpy()
        apart[what] = float(np.median(np.abs(found - theirs) / theirs))
        print(
            f"{name}: {what} median {np.median(found):.0f} (theirs {np.median(theirs):.0f}), "
            f"median difference {100 * apart[what]:.1f} % of {mask.sum()} voxels, {atoms.shape[1]} atoms"
        )
    assert max(apart.values()) <= 0.05


def test_the_comparison_bites(test_data: Callable[[str], Path]) -> None:
    """Without locking pulses the clinical maps are nothing like theirs."""
    held = np.load(test_data("cest_mrf_larginine_phantoms") / "clinical3T.npz")
    mask = held["mask"]
    data = torch.from_numpy(np.nan_to_num(held["frames"])[:, 19:-19][:, mask]).float()
    unlocked = schedule("cest-mrf-arginine-3t").model_copy(update={"spin_lock": False})
    atoms, k, _ = _dictionary(
        unlocked, (100.0, 1400.0, 100.0), (10.0, 120.0, 20.0), (2.7, 3.1, 0.2), (0.4, 1.3, 0.3)
    )
    theirs = held["peer_ksw"][mask]
    assert np.median(np.abs(k[_match(atoms, data)].numpy() - theirs) / theirs) > 0.2
