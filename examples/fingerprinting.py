"""Fingerprinting from beginning to end: a phantom, its 25 images, a dictionary, the match.

Run it with ``python examples/fingerprinting.py [picture.png]``.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from fastqmri.core import Fingerprinting, Measurement
from fastqmri.estimators.matching import dictionary_matching
from fastqmri.phantoms import vials
from fastqmri.physics.spins import FingerprintingSignal, schedule

SNR = 100
GRID = {"T1": "50:10:1000,1020:20:4000ms", "T2": "5:1:100,102:2:300,305:5:600ms"}


def main(picture: Path) -> None:
    train = schedule("drone-25")
    assert isinstance(train, Fingerprinting)
    model = FingerprintingSignal(train)
    names = [parameter.name for parameter in model.parameters]
    generator = torch.Generator().manual_seed(0)
    phantom = vials(model, generator, shape=(128, 128, 1))
    truth = phantom.truth.clone()
    for row, parameter in enumerate(model.parameters):
        if parameter.nominal is not None:  # flip angles as told; B1 maps would get dictionaries of their own
            truth[row] = parameter.nominal
    t1, t2 = (names.index(name) for name in ("T1", "T2"))
    truth[t2] = torch.minimum(truth[t2], 0.9 * truth[t1])  # vials are drawn one parameter at a time
    inside = phantom.labels > 0
    clean = torch.where(inside, model(truth), 0.0)
    sigma = float(clean.amax(0)[inside].median()) / SNR
    noise = [sigma * torch.randn(clean.shape, generator=generator, dtype=clean.dtype) for _ in range(2)]
    images = torch.hypot(clean + noise[0], noise[1])
    maps = dictionary_matching(model, GRID).estimate(Measurement(images, train, mask=inside))
    for note in maps.notes:
        print(note)

    figure = Figure(figsize=(11, 6), layout="constrained")
    shown = inside[:, :, 0]
    panels = figure.subplots(2, 3)
    for row, (name, unit, high) in enumerate((("T1", 1.0, 4.0), ("T2", 1e3, 600.0))):
        found, deviation = maps[name].value[:, :, 0] * unit, maps[name].standard_deviation[:, :, 0] * unit
        true = truth[names.index(name)][:, :, 0] * unit
        error = (found / true - 1)[shown]
        print(f"{name}: median error {100 * float(error.abs().median()):.2f} %")
        for panel, title, values, top in zip(
            panels[row],
            (f"{name} true", f"{name} matched", "standard deviation"),
            (true, found, deviation),
            (high, high, high / 20),
            strict=True,
        ):
            drawn = panel.imshow(np.where(shown, np.asarray(values), np.nan).T, vmin=0, vmax=top)
            panel.set_title(f"{title} [{'s' if unit == 1 else 'ms'}]", fontsize=10)
            panel.axis("off")
            figure.colorbar(drawn, ax=panel, shrink=0.8)
    figure.savefig(picture, dpi=100)
    print(f"picture in {picture}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "fingerprinting.png"))
