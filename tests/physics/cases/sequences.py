"""Pulse sequences simulated by isochromats."""

from __future__ import annotations

import math

from fastqmri.physics.signal import pulse_shapes
from fastqmri.physics.spins import BlochSignal, Delay, Ensemble, Pulse, Readout, compose, schedule
from fastqmri.physics.spins.sequence import inversion, selective, spoiling_phase, t2_preparation
from physics.checks import Case

_SLICE = selective(0.7, 2e-3, pulse_shapes.sinc(16, 4.0), 5e-3, 4.0)
_SPOILING = Delay(0.006, (0.0, 0.0, 3e-3))
SELECTIVE = compose(
    Pulse(1.9),
    Delay(0.03, (2e-3, 0.0, 1e-3)),
    _SLICE,
    Readout(0.2),
    _SPOILING,
    _SLICE,
    Delay(0.004),
    Readout(),
    _SPOILING,
    Pulse(0.9, 1e-3, (1.0, 2.0, 1.0 + 0.5j), 0.8, 120.0),
    Readout(0.3),
)
MIXED = compose(
    inversion(0.4),
    [(Pulse(0.2, phase=spoiling_phase(n)), Delay(0.01), Readout(spoiling_phase(n))) for n in range(4)],
    t2_preparation(0.05),
    Pulse(math.radians(40)),
    Delay(0.003),
    Readout(),
)

CASES = (
    Case(
        "bloch",
        lambda: BlochSignal(schedule("prepared-16")),
        None,
        schedule=("flip_angle", "duration"),
    ),
    Case(
        "bloch-slice",
        lambda: BlochSignal(SELECTIVE, ensemble=Ensemble.line(9, 6e-3)),
        None,
    ),
    Case(
        "bloch-complex",
        lambda: BlochSignal(SELECTIVE, "complex", Ensemble.line(5, 6e-3, (0.6, 0.0, 0.8))),
        None,
        schedule=("flip_angle", "phase", "frequency", "gradient", "duration", "receiver_phase"),
    ),
    Case("bloch-preparations", lambda: BlochSignal(MIXED, "complex"), None),
)
