"""Pulse sequences by name."""

from __future__ import annotations

import math

from fastqmri.physics.spins.schedules.published import Published
from fastqmri.physics.spins.sequence import (
    Delay,
    Pulse,
    PulseSequence,
    Readout,
    Spoiler,
    compose,
    inversion,
    t2_preparation,
)


def prepared_16() -> PulseSequence:
    """Inversion and T2 preparations in turn, each followed by one saturating readout and a pause (our choice)."""
    read = (Pulse(math.pi / 2), Delay(0.002), Readout(), Spoiler(), Delay(1.5))
    inversions = [(inversion(delay), read) for delay in (0.03, 0.1, 0.25, 0.5, 0.9, 1.4, 2.0, 3.0)]
    preparations = [(t2_preparation(time), read) for time in (0.01, 0.02, 0.035, 0.05, 0.08, 0.12, 0.2, 0.3)]
    return compose(inversions, preparations)


SCHEDULES = (
    Published(
        "prepared-16",
        "eight inversion times and eight T2 preparations, hard pulses (our choice)",
        prepared_16,
    ),
)
