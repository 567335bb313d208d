"""DRONE on fingerprints synthesised from real maps of the NIST phantom (its T2 plate, mapped by fingerprinting).

    OMP_NUM_THREADS=1 FASTQMRI_TEST_DATA=... python benchmarks/methods/drone_nist.py [picture.png]

The images themselves were not published. Here they are simulated from the maps, by the schedules of the networks and by
the scanner's own (which the card of drone-irfisp refuses), with Rician noise of SNR 40 (root mean square).
"""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fastqmri.core import Fingerprinting, Flag, Measurement
from fastqmri.estimators.least_squares import least_squares
from fastqmri.estimators.matching import dictionary_matching
from fastqmri.learning.validity import judge
from fastqmri.learning.voxelwise_inference import VoxelNetwork, voxelwise_network
from fastqmri.learning.weights import read_card, read_weights
from fastqmri.methods import drone
from fastqmri.physics.spins import FingerprintingSignal

SNR = 40
STRIDE = {"drone-25": 1, "drone-irfisp": 2}


def main() -> None:
    """Print errors, draw the maps."""
    torch.set_num_threads(1)
    folder = Path(os.environ["FASTQMRI_TEST_DATA"]) / "mrf_nist_phantom_maps_and_schedule"
    with np.load(folder / "mrf_maps_s.npz") as maps:
        t1, t2 = (torch.from_numpy(maps[name]) for name in ("T1", "T2"))
    with np.load(folder / "schedule.npz") as table:
        scanner = Fingerprinting(
            flip_angle=tuple(np.deg2rad(table["FA_deg"]).tolist()),
            repetition_time=tuple(table["TR_s"].tolist()),
            echo_time=tuple(table["TE_s"].tolist()),
            inversion_time=0.018,
        )
    panels: dict[str, tuple[Tensor, Tensor]] = {}
    for recipe in (drone.Drone25(), drone.DroneIrFisp()):
        step = STRIDE[recipe.name]
        one, two = t1[::step, ::step], t2[::step, ::step]
        mask = (one > 0.1) & (one < 4) & (two > 0.01) & (two < 0.6) & (two < one)
        network, card = recipe.network(), read_card(drone_weights(), recipe.name)
        read_weights(drone_weights(), network, card)
        assert isinstance(network, VoxelNetwork)
        for label, acquisition in (("its schedule", recipe.acquisition()), ("the scanner's", scanner)):
            if acquisition is scanner and recipe.name != "drone-irfisp":
                continue
            model = FingerprintingSignal(acquisition)
            x = torch.ones(len(model.parameters), *one.shape)
            x[1], x[2] = (torch.where(mask, m, 1.0) for m in (one, two))
            clean = model(x)
            noise = float(clean.square().mean(0).sqrt()[mask].median()) / SNR
            white = noise * torch.randn((2, *clean.shape), generator=torch.Generator().manual_seed(7))
            measurement = Measurement(
                torch.hypot(clean + white[0], white[1]), acquisition, mask=mask, noise=noise
            )
            refusals = judge(card.validity, measurement).refusals
            print(
                f"{recipe.name}, {label}: {int(mask.sum())} voxels; the card {'refuses' if refusals else 'accepts'} it"
            )
            for name, estimator in {
                "network": voxelwise_network(model, network, recipe.name, finishing=0),
                "network, finished": voxelwise_network(model, network, recipe.name),
                "matching": dictionary_matching(model, recipe.axes),
                "nlls": least_squares(model),
            }.items():
                found = estimator.estimate(measurement)
                errors = [
                    100 * float(((found[n].value - m) / m).abs()[mask].nanmedian())
                    for n, m in (("T1", one), ("T2", two))
                ]
                misfit = int(((found.flags & int(Flag.MODEL_MISFIT)) != 0).sum())
                print(
                    f"  {name:18s} median error T1 {errors[0]:.3f} %  T2 {errors[1]:.3f} %   misfits {misfit}"
                )
                if acquisition is not scanner and name.startswith("network"):
                    panels[f"{recipe.name}, {name}"] = found["T1"].value, found["T2"].value
        panels[f"{recipe.name}, truth"] = torch.where(mask, one, math.nan), torch.where(mask, two, math.nan)
    if len(sys.argv) > 1:
        picture(Path(sys.argv[1]), panels)


def drone_weights() -> Path:
    """Folder of the shipped weights."""
    return Path(drone.__file__).parent / "weights"


def picture(path: Path, panels: dict[str, tuple[Tensor, Tensor]]) -> None:
    """Maps of T1 above, T2 below."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, len(panels), figsize=(3 * len(panels), 6))
    for column, (name, pair) in enumerate(panels.items()):
        for axis, image, top in zip(axes[:, column], pair, (3.0, 0.6), strict=True):
            shown = axis.imshow(image.numpy(), vmin=0, vmax=top, cmap="viridis")
            axis.set_axis_off()
            figure.colorbar(shown, ax=axis, shrink=0.6, label="s")
        axes[0, column].set_title(name, fontsize=8)
    figure.savefig(path, dpi=70, bbox_inches="tight")


if __name__ == "__main__":
    main()
