"""Quantitative magnetisation transfer."""

from __future__ import annotations

import math

from fastqmri.core import BalancedMagnetizationTransfer, QuantitativeMagnetizationTransfer
from fastqmri.physics.signal import BalancedTransferSignal, RamaniSignal, YarnykhSignal
from physics.checks import Case

OFFSETS = (443.0, 1088.0, -1850.0, 2732.0, 6862.0, 17235.0)
SATURATED = QuantitativeMagnetizationTransfer(
    saturation_angle=tuple(math.radians(a) for a in (142, 426) for _ in OFFSETS),
    offset=OFFSETS * 2,
    pulse_duration=0.0102,
    repetition_time=0.025,
    flip_angle=math.radians(7),
    delay=0.005,
)
BALANCED = BalancedMagnetizationTransfer(
    flip_angle=tuple(math.radians(a) for a in (5, 10, 15, 20, 25, 30, 35, 35, 35, 35, 35)),
    pulse_duration=(0.00027,) * 7 + (0.00042, 0.0007, 0.0012, 0.0021),
    repetition_time=(0.00297,) * 7 + (0.00312, 0.0034, 0.0039, 0.0048),
)
_SCHEDULE = ("saturation_angle", "offset", "pulse_duration", "repetition_time", "pulse_bandwidth")

CASES = (
    *(
        Case(
            f"qmt-ramani{'-normalised' * normalised}-{water}",
            lambda normalised=normalised, water=water: RamaniSignal(SATURATED, normalised, water),
            None,
            schedule=_SCHEDULE,
        )
        for normalised in (False, True)
        for water in RamaniSignal.WATER
    ),
    Case("qmt-yarnykh", lambda: YarnykhSignal(SATURATED), None, schedule=(*_SCHEDULE, "delay", "flip_angle")),
    Case(
        "qmt-bssfp",
        lambda: BalancedTransferSignal(BALANCED),
        None,
        schedule=("flip_angle", "pulse_duration", "repetition_time"),
    ),
)
