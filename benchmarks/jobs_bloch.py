"""Bloch isochromats: a 3 ms slice-selective pulse with its gradient and the refocusing lobe, 1000 steps of 4 µs.

Ours computes in double precision and rotates by the exact angle; the derivatives are by B1, off-resonance, T1 and T2,
or by all 6000 numbers of the steps. The exponential of each step's Bloch matrix, which an ODE solver confirms to
1e-13, is met to 2e-8 in |Mxy| and 9e-8 in Mz.

The error of other programs is that of |Mxy| and Mz, free of sign conventions. blochsimulator takes gauss and turns it
by 26753 rad/s/G, 42.5787 MHz/T: what it gets is converted with that (with 42.576 MHz/T it would be off by 1e-4). What
stays, 2.4e-5 in |Mxy| and 1.9e-6 in Mz, is half a step of relaxation: it relaxes after each rotation, not around it,
and rotating so by SciPy gives its numbers to 1e-13.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from contests import Contest, Place, Runner
from numpy.typing import NDArray
from torch import Tensor

from fastqmri.physics.signal import pulse_shapes
from fastqmri.physics.spins import bloch

STEPS, PULSE, DWELL = 1000, 750, 4e-6
GAMMA = 42.576e6  # Hz/T
GRADIENT = 9.4e-3  # T/m
T1, T2 = 1.0, 0.08
ISOCHROMATS = 20000
OURS = "fastqmri"


def _fields() -> NDArray[np.float64]:
    """(step, 6) as `bloch.isochromats` takes them."""
    shape = pulse_shapes.sinc(PULSE, 6.0, "hamming").numpy()
    steps = np.zeros((STEPS, 6))
    steps[:PULSE, 0] = shape / shape.sum() * math.pi / 2
    gradient = np.full(STEPS, GRADIENT)
    gradient[PULSE:] *= -PULSE / 2 / (STEPS - PULSE)
    steps[:, 4] = 2 * math.pi * GAMMA * gradient * DWELL
    steps[:, 5] = DWELL
    return steps


def _problem(count: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Steps, readout, spoiled, tissue and position."""
    readout = torch.full((STEPS,), -1)
    readout[-1] = 0
    tissue = torch.tensor([1.0, 0.0, T1, T2], dtype=torch.float64)[:, None].repeat(1, count)
    position = torch.zeros(3, count, dtype=torch.float64)
    position[2] = torch.linspace(-0.01, 0.01, count, dtype=torch.float64)
    spoiled = torch.zeros(STEPS, dtype=torch.bool)
    return torch.from_numpy(_fields()), readout, spoiled, tissue, position


def _sizes(found: Any) -> NDArray[np.float64]:
    """|Mxy| and Mz of (…, 3, isochromat)."""
    x, y, z = np.asarray(found).reshape(3, -1)
    return np.stack([np.hypot(x, y), z])


def _signals(place: Place) -> Sequence[Runner]:
    count = place.amount or ISOCHROMATS
    problem = _problem(count)
    return [
        Runner(OURS, count * STEPS, lambda: bloch.isochromats(*problem), _sizes),
        *place.peer(
            "blochsimulator",
            "peer_blochsimulator.py",
            count * STEPS,
            OURS,
            _sizes,
            needs="blochsimulator",
            steps=_fields(),
            z=problem[4][2].numpy(),
            t1=T1,
            t2=T2,
        ),
    ]


def _jacobians(place: Place) -> Sequence[Runner]:
    count = place.amount or ISOCHROMATS
    problem = _problem(count)
    return [Runner(OURS, count * STEPS, lambda: bloch.changes(*problem)[1].numpy())]


def _gradients(place: Place) -> Sequence[Runner]:
    count = place.amount or ISOCHROMATS
    steps, *rest = _problem(count)

    def run() -> NDArray[np.float64]:
        leaf = steps.clone().requires_grad_()
        loss = (bloch.isochromats(leaf, *rest) ** 2).sum()
        return torch.autograd.grad(loss, leaf)[0].numpy()

    return [Runner(OURS, count * STEPS, run)]


CONTESTS = (
    Contest(
        "bloch", "Bloch isochromats, magnetisation", "spin-steps", _signals, "1000 steps, 20000 isochromats."
    ),
    Contest("bloch-jacobian", "Bloch isochromats with four derivatives by tissue", "spin-steps", _jacobians),
    Contest("bloch-schedule", "Bloch isochromats, gradient by all steps", "spin-steps", _gradients),
)
