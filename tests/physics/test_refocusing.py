"""Trains of refocusing pulses against isochromats, another program's vectors, and the closed form of equal angles."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fastqmri.core import MultiEchoSpinEcho, RefocusingTrain
from fastqmri.physics.signal import SpinEchoTrain
from fastqmri.physics.spins import RefocusedEchoes
from physics.isochromats import Isochromats

ECHOES = 17
VARIED = RefocusingTrain(
    refocusing_angle=tuple(math.radians(130 + 45 * math.cos(0.9 * n)) for n in range(ECHOES)),
    echo_spacing=0.0083,
    excitation_angle="81deg",
)


def isochromats(train: RefocusingTrain, t1: float, t2: float, b1: float) -> np.ndarray:
    """Echoes, pulse by pulse."""
    spins, echoes = Isochromats(t1, t2), []
    spins.pulse(b1 * train.excitation_angle)
    for angle in train.refocusing_angle:
        spins.wait(train.echo_spacing / 2)
        spins.wind()
        spins.pulse(b1 * angle, math.pi / 2)  # about the axis of the magnetisation
        spins.wait(train.echo_spacing / 2)
        spins.wind()
        echoes.append(spins.signal())
    return np.array(echoes)


@pytest.mark.parametrize("compiled", [True, False])
def test_against_the_sum_of_isochromats(compiled: bool) -> None:
    tissues = ((1.0, 0.08, 1.0), (0.35, 0.05, 0.8), (2.5, 0.4, 1.15))
    wanted = np.stack([isochromats(VARIED, *tissue) for tissue in tissues], 1)
    assert np.abs(wanted.imag).max() < 1e-12
    x = torch.tensor([[1.0, t2, b1, t1] for t1, t2, b1 in tissues], dtype=torch.float64).T
    found = RefocusedEchoes(VARIED, compiled=compiled)(x).numpy()
    assert np.abs(found - wanted.real).max() <= 1e-12


def test_against_published_vectors(test_data: Callable[[str], Path]) -> None:
    # Weigel's phase graph, 32 echoes 10 ms apart, T2 = 80 ms, T1 = 1 s, excitation of 90° throughout; 15 decimals
    rows = list(csv.DictReader((test_data("epg_decaes_reference_vectors") / "weigel_reference.csv").open()))
    model = RefocusedEchoes(RefocusingTrain(refocusing_angle=(math.pi,) * 32, echo_spacing=0.01))
    for b1 in (0.8, 0.9, 1.0):
        wanted = [float(row["value"]) for row in rows if row["test"] == f"cpmg_b1_{b1}"]
        found = model(torch.tensor([1.0, 0.08, b1, 1.0], dtype=torch.float64)) / math.sin(b1 * math.pi / 2)
        difference = float((found - torch.tensor(wanted, dtype=torch.float64)).abs().max())
        print(f"B1 = {b1}: differs by {difference:.1e}")
        assert difference <= 1e-15 + 0.5e-15


@pytest.mark.parametrize("profile", RefocusedEchoes.PROFILES)
def test_against_the_closed_form_of_equal_angles(profile: str) -> None:
    x = torch.tensor([[1.3, 0.06, 0.87, 1.1], [0.7, 0.2, 1.04, 0.6]], dtype=torch.float64).T
    train = RefocusingTrain(refocusing_angle=(math.pi,) * ECHOES, echo_spacing=0.0087)
    echoes = MultiEchoSpinEcho(echo_time=tuple(0.0087 * (n + 1) for n in range(ECHOES)))
    ours, closed = RefocusedEchoes(train, profile).evaluate(x), SpinEchoTrain(echoes, profile).evaluate(x)
    torch.testing.assert_close(ours, closed, rtol=1e-10, atol=1e-12)
