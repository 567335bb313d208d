"""Saturation with exchange."""

from __future__ import annotations

import math

from fastqmri.core import SaturationTransfer
from fastqmri.physics.spins import ChemicalExchange, TwoPoolTransfer, schedule
from fastqmri.physics.spins.exchange import Pool, Tissue
from physics.checks import Case

TRANSFER = SaturationTransfer(
    offset=(8.0, 10.0, 15.0, -25.0, 50.0),
    saturation_b1=(1.0, 1.9, 1.3, 0.9, 1.7),
    pulse_duration=(0.4, 0.9, 2.0, 1.1, 0.6),
    recovery_time=(3.5, 4.0, 4.5, 3.6, 4.1),
    field_strength=3.0,
    initial="zero",
)
SHORT = SaturationTransfer(
    offset=(2.0, 6.0, 4.0, -5.0),
    saturation_b1=(1.0, 1.9, 1.3, 0.9),
    pulse_duration=(0.1, 0.2, 0.15, 0.1),
    recovery_time=(3.5, 4.0, 4.5, 3.6),
    field_strength=3.0,
    initial="zero",
)
"""The magnetisation turns little within a finite-difference step."""
CONTINUOUS = SaturationTransfer(
    offset=(-3.3, -1.1, 0.4, 1.9, 3.1, 3.5, 4.6),
    saturation_b1=(1.0, 2.0, 0.7, 1.5, 1.0, 3.0, 1.0),
    pulse_duration=1.2,
    recovery_time=2.0,
    field_strength=3.0,
    initial="zero",
)
PULSED = SaturationTransfer(
    offset=(-3.3, 0.3, 2.2, 3.6),
    saturation_b1=(1.0, 0.6, 1.5, 2.0),
    pulse_duration=0.02,
    recovery_time=1.0,
    field_strength=3.0,
    pulses=4,
    pulse_delay=0.01,
    pulse_shape=(0.3, 1.1, 0.8, 0.2),
    spoil_time=0.005,
    initial="zero",
)
FINGERPRINT = SaturationTransfer(
    offset=(3.0,) * 5,
    saturation_b1=(5.0, 2.5, 0.25, 6.0, 3.75),
    pulse_duration=0.2,
    recovery_time=(0.98, 0.7, 0.98, 1.5, 0.98),
    field_strength=9.4,
    initial="previous",
    flip_angle=math.radians(60),
    echo_time=0.02,
)
LOCKED = SaturationTransfer(
    offset=(3.0,) * 4,
    saturation_b1=(2.0, 1.5, 0.5, 3.5),
    pulse_duration=0.1,
    recovery_time=(1.0, 0.8, 1.0, 1.0),
    field_strength=2.89,
    pulses=3,
    pulse_delay=0.1,
    spin_lock=True,
    spoiled_pulses=True,
    spoil_time=0.0055,
    initial="previous",
    flip_angle=math.radians(15),
    echo_time=0.028,
    readouts=3,
    spoiled_readouts=False,
)
AMIDE = Tissue(
    1.2,
    0.08,
    (Pool("amide", 3.5, 1e-3, 80.0, 1.1, 0.1), Pool("amine", 2.0, 9e-4, 500.0, 1.0, 0.05)),
    (0.8, 2.0),
    (0.03, 0.2),
)
BRAIN = Tissue(
    1.2,
    0.08,
    (Pool("MT", -2.5, 0.1, 30.0, 1.0, 1.1e-5, semisolid=True), Pool("amide", 3.5, 1e-3, 80.0, 1.1, 0.1)),
    (0.8, 2.0),
    (0.03, 0.2),
)
TIMES = ("offset", "saturation_b1", "pulse_duration", "recovery_time")


SPECTRUM = SaturationTransfer(
    offset=tuple(sign * ppm for ppm in (40.0, 20.0, *(5 - 0.5 * i for i in range(9))) for sign in (-1, 1)),
    saturation_b1=1.5,
    pulse_duration=2.0,
    recovery_time=3.0,
    field_strength=3.0,
)

CASES = (
    Case("mtc-mrf-40", lambda: TwoPoolTransfer(schedule("mtc-mrf-40")), None, ill_conditioned=True),
    Case(
        "cest-mrf-arginine",
        lambda: ChemicalExchange(schedule("cest-mrf-arginine"), "l-arginine", protons=3),
        None,
        costly=True,
    ),
    Case(
        "cest-bm",
        lambda: ChemicalExchange(
            SPECTRUM, "white-matter", ("f_amide", "f_amine", "f_guanidinium", "f_NOE", "f_MT")
        ),
        None,
        costly=True,
    ),
    Case("mtc-closed", lambda: TwoPoolTransfer(TRANSFER), None, schedule=TIMES, ill_conditioned=True),
    Case("mtc-exact", lambda: TwoPoolTransfer(SHORT, "exact", "superlorentzian"), None, schedule=TIMES),
    Case(
        "cest-spin-lock",
        lambda: ChemicalExchange(CONTINUOUS, AMIDE, ("f_amide", "k_amide", "k_amine"), "fitted", "spin-lock"),
        None,
        schedule=TIMES,
        ill_conditioned=True,
    ),
    Case(
        "cest-pulsed",
        lambda: ChemicalExchange(PULSED, BRAIN, ("f_amide", "k_amide", "f_MT", "k_MT"), "fitted"),
        None,
        schedule=(*TIMES, "pulse_shape", "pulse_delay"),
    ),
    Case(
        "cest-mrf",
        lambda: ChemicalExchange(FINGERPRINT, "l-arginine", protons=3),
        None,
        schedule=(*TIMES, "flip_angle", "echo_time"),
        ill_conditioned=True,
        costly=True,
    ),
    Case(
        "cest-mrf-locked",
        lambda: ChemicalExchange(LOCKED, "l-arginine", water="fitted"),
        None,
        schedule=(*TIMES, "flip_angle", "echo_time"),
    ),
)
