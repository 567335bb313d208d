"""Extended phase graphs against the sum of isochromats and other programs' numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fastqmri.core import Fingerprinting
from fastqmri.physics.spins import FingerprintingSignal, schedule
from physics.isochromats import fingerprints

TISSUES = ((1.2, 0.08, 1.0, 1.0), (0.45, 0.24, 0.83, 0.94), (3.1, 0.6, 1.12, 0.97), (0.3, 0.02, 1.0, 0.9))
"""T1, T2, B1, efficiency."""


def train(count: int = 80, **fields: object) -> Fingerprinting:
    """A train of wandering angles and times."""
    n = np.arange(count)
    defaults = {
        "flip_angle": tuple(np.deg2rad(25 + 20 * np.sin(0.13 * n) + 4 * np.cos(1.7 * n))),
        "repetition_time": tuple(0.011 + 0.002 * np.sin(0.4 * n)),
        "echo_time": tuple(0.003 + 0.001 * np.cos(0.9 * n)),
    }
    return Fingerprinting(**{**defaults, **fields})


HEARTBEATS = {
    "segment_length": (9, 11, 8, 12, 10),
    "preparation": ("inversion", "none", "t2prep", "t2prep", "inversion"),
    "preparation_time": (0.021, 0.0, 0.03, 0.08, 0.1),
    "rr_interval": (0.9, 0.7, 1.3, 0.55, 0.8),
}
TRAINS = {
    "gradient": train(inversion_time=0.02),
    "gradient without inversion": train(),
    "several axes": train(rf_phase=tuple(0.3 * (i % 7) for i in range(80)), inversion_time=0.02),
    "rf": train(spoiling="rf", inversion_time=0.05),
    "rf 50 degrees": train(spoiling="rf", phase_increment=math.radians(50)),
    "balanced": train(spoiling="balanced", rf_phase=tuple(math.pi * (i % 2) for i in range(80))),
    "balanced, several axes": train(spoiling="balanced", rf_phase=tuple(1.1 * (i % 4) for i in range(80))),
    "heartbeats": train(50, **HEARTBEATS),
    "heartbeats, rf": train(50, spoiling="rf", **HEARTBEATS),
}
each_train = pytest.mark.parametrize("name", TRAINS)


def parameters(model: FingerprintingSignal, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """(parameter, voxel) of `TISSUES`, phase zero."""
    rows = torch.tensor(TISSUES, dtype=dtype).T
    x = torch.zeros(len(model.parameters), len(TISSUES), dtype=dtype)
    x[0], x[1:4] = 1.0, rows[:3]
    if "inversion_efficiency" in [p.name for p in model.parameters]:
        x[4] = rows[3]
    return x


@each_train
def test_against_the_sum_of_isochromats(name: str) -> None:
    model = FingerprintingSignal(TRAINS[name], "complex", states=100)
    wanted = np.stack([fingerprints(TRAINS[name], *tissue) for tissue in TISSUES], 1)
    found = model(parameters(model)).numpy()
    assert np.abs(found - wanted).max() <= 1e-10


@pytest.mark.parametrize("name", ["drone-25", "drone-epi-25", "cardiac-15", "irfisp-500"])
def test_states_that_choose_themselves(name: str) -> None:
    acquisition = schedule(name)
    model = FingerprintingSignal(acquisition, "real")
    more = FingerprintingSignal(acquisition, "real", states=model.states + 10)
    x = torch.tensor(
        [
            [1.0, t1, 0.6, b1, 1.0][: len(model.parameters)]
            for t1 in (0.6, 1.0, 4.0)
            for b1 in (0.7, 0.8, 1.0, 1.3)
        ]
    )
    x = x.double().T
    assert float((model(x) - more(x)).abs().max()) <= 1e-4
