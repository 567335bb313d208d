"""A slice-selective inversion recovery by Bloch isochromats: profile, signals, and how they depend on the sequence.

Run it with ``python examples/simulate_sequence.py [picture.png]``.
"""

import math
import sys
from pathlib import Path

import torch
from matplotlib.figure import Figure

from fastqmri.physics.signal import pulse_shapes
from fastqmri.physics.spins import BlochSignal, Delay, Pulse, Readout, Spoiler, compose, slice_profile
from fastqmri.physics.spins.sequence import inversion, selective

TIMES = [0.05 + 0.1 * i for i in range(25)]
TISSUES = {"white matter": (0.85, 0.07), "grey matter": (1.4, 0.09), "cerebrospinal fluid": (4.0, 2.0)}


def main(picture: Path) -> None:
    # adiabatic inversion, spoiling, a 5 mm slice excited by a windowed sinc, and its readout
    invert = Pulse.of_amplitude(900.0, 0.010, pulse_shapes.hyperbolic_secant(500))
    excite, rephase = selective(math.pi / 2, 3e-3, pulse_shapes.sinc(300, 4.0), 5e-3, 4.0)
    shots = [
        (inversion(time, invert), excite, rephase, Delay(0.002), Readout(), Spoiler(), Delay(8.0))
        for time in TIMES
    ]
    model = BlochSignal(compose(shots), "complex")

    tissue = torch.ones(5, len(TISSUES), dtype=torch.float64)  # M0, T1, T2, B1, B0
    tissue[1:3] = torch.tensor(list(TISSUES.values()), dtype=torch.float64).T
    tissue[4] = 0
    signal = model(tissue)

    # derivatives reach the sequence too: how would the signals change with each flip angle?
    angles = model.acquisition.tensor("flip_angle").requires_grad_()
    live = BlochSignal(model.acquisition.differentiable(flip_angle=angles), "complex", model.ensemble)
    (slope,) = torch.autograd.grad(live(tissue).real.sum(), angles)
    print(f"{model.acquisition.contrasts} readouts, {len(model.ensemble.weight)} isochromats")
    print(f"largest change of the summed signal by a flip angle: {float(slope.abs().max()):.3f} per rad")

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    place = torch.linspace(-6e-3, 6e-3, 241, dtype=torch.float64)
    left.plot(1e3 * place, slice_profile(excite, place).flip_fraction)
    left.set(xlabel="position (mm)", ylabel="flip angle / nominal", title="slice profile")
    for name, curve in zip(TISSUES, signal.real.T, strict=True):
        right.plot(1e3 * torch.tensor(TIMES), curve, label=name)
    right.set(xlabel="inversion time (ms)", ylabel="signal / M0", title="inversion recovery")
    right.legend(frameon=False)
    figure.savefig(picture, dpi=120)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "simulate_sequence.png"))
