"""T2 from k-space with every fifth line: zero-filled, locally low rank, and model-based, beside the truth.

Run it with ``python examples/t2_from_undersampled_kspace.py [picture.png]``.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from fastqmri.core import MultiEchoSpinEcho
from fastqmri.estimators import least_squares
from fastqmri.estimators.reconstruction import LocallyLowRank, ModelBased, TwoStep, ZeroFilled
from fastqmri.phantoms import acquire, ellipses
from fastqmri.physics.encoding import CartesianEncoding, synthetic_sensitivities, variable_density_lines
from fastqmri.physics.signal import ExponentialDecay

ACCELERATION, COILS, SNR = 5, 4, 60
MATRIX = (64, 64)


def main(picture: Path) -> None:
    generator = torch.Generator().manual_seed(5)
    echoes = MultiEchoSpinEcho(echo_time=tuple(f"{t}ms" for t in (7, 16, 25, 34, 43, 52, 62, 71)))
    model = ExponentialDecay(echoes)
    phantom = ellipses(MATRIX, generator=generator)
    lines = variable_density_lines(MATRIX[0], echoes.contrasts, ACCELERATION, generator=generator)
    encoding = CartesianEncoding(
        synthetic_sensitivities(MATRIX, COILS, generator=generator), lines[:, :, None]
    )
    kspace = acquire(phantom, model, encoding, snr=SNR, generator=generator)

    truth, inside = phantom.maps["T2"], phantom.mask
    fit = least_squares(model)
    shown = {"true": truth}
    for name, estimator in (
        ("zero-filled + fit", TwoStep(ZeroFilled(), fit)),
        ("locally low rank + fit", TwoStep(LocallyLowRank(), fit)),
        ("model-based", ModelBased(model)),
    ):
        maps = estimator.estimate(kspace)
        shown[name] = maps["T2"].value
        error = (maps["T2"].value - truth)[inside].nan_to_num()
        print(f"T2, {name}: error {100 * float(error.norm() / truth[inside].norm()):.1f} %")

    figure = Figure(figsize=(12, 3.4), layout="constrained")
    panels = figure.subplots(1, len(shown) + 1)
    panels[0].imshow(lines.T.float(), cmap="gray", aspect="auto", interpolation="nearest")
    panels[0].set_title("lines measured, by echo", fontsize=10)
    for panel, (name, values) in zip(panels[1:], shown.items(), strict=True):
        drawn = panel.imshow(np.where(inside, 1e3 * np.asarray(values), np.nan), vmin=0, vmax=120)
        panel.set_title(name, fontsize=10)
    figure.colorbar(drawn, ax=panels[1:], label="T2 [ms]")
    for panel in panels:
        panel.set_xticks([])
        panel.set_yticks([])
    figure.savefig(picture, dpi=110)
    print(f"picture in {picture}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "t2_from_undersampled_kspace.png"))
