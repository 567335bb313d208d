"""Simulators that have nothing in common but the physics give the same signals."""

from __future__ import annotations

import math

import pytest
import torch

from fastqmri.core import Fingerprinting
from fastqmri.core.units import GYROMAGNETIC_RATIO
from fastqmri.physics.spins import BlochSignal, FingerprintingSignal
from fastqmri.physics.spins.bloch_signal import Ensemble
from fastqmri.physics.spins.sequence import (
    Delay,
    Part,
    Pulse,
    Readout,
    compose,
    inversion,
)

_ISOCHROMATS = 240
_LENGTH = 1e-3


def _sequence(train: Fingerprinting) -> list[Part]:
    """The train as pulses, delays and one turn of dephasing over the ensemble's length in every repetition."""
    parts: list[Part] = [*inversion(train.inversion_time)] if train.inversion_time else []
    phases = train.phases().tolist()
    for angle, phase, echo, repetition in zip(
        train.flip_angle, phases, train.echo_time, train.repetition_time, strict=True
    ):
        turn = 1 / (GYROMAGNETIC_RATIO * (repetition - echo) * _LENGTH)
        winding = (0.0, 0.0, 0.0 if train.spoiling == "balanced" else turn)
        parts += [Pulse(angle, phase=phase), Delay(echo), Readout(phase), Delay(repetition - echo, winding)]
    return parts


@pytest.mark.parametrize("spoiling", ["gradient", "rf", "balanced"])
def test_phase_graphs_equal_isochromats(spoiling: str) -> None:
    angles = [math.radians(8 + 50 * math.sin(math.pi * k / 25) ** 2) for k in range(25)]
    train = Fingerprinting(
        flip_angle=tuple(angles),
        repetition_time=tuple(0.012 + 0.002 * math.sin(k) for k in range(25)),
        echo_time=(0.003,) * 25,
        spoiling=spoiling,
        inversion_time=0.02,
    )
    x = torch.tensor(
        [[1.3, 0.8], [0.7, 1.6], [0.05, 0.4], [1.0, 1.0], [1.0, 1.0], [0.0, 0.0]], dtype=torch.float64
    )
    graphs = FingerprintingSignal(train, "complex", states=60)(x)
    ensemble = Ensemble.line(1 if spoiling == "balanced" else _ISOCHROMATS, _LENGTH)
    isochromats = BlochSignal(compose(_sequence(train)), "complex", ensemble)
    bloch = isochromats(torch.cat([x[:4], torch.zeros_like(x[:1])]))
    worst = float((graphs - bloch).abs().max())
    print(f"{spoiling}: largest difference {worst:.2g}")
    assert worst <= 1e-5
