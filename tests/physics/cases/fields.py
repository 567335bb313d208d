"""The transmit field and the static field."""

from __future__ import annotations

import math

import numpy as np

from fastqmri.core import ActualFlipAngle, DoubleAngle
from fastqmri.physics.signal import ActualFlipAngleSignal, DoubleAngleSignal, PhaseEvolution
from physics.cases.relaxometry import GRADIENT_ECHOES
from physics.checks import Case

INTERLEAVED = ActualFlipAngle(repetition_time=(0.021, 0.103), flip_angle=math.radians(55))
DOUBLED = DoubleAngle(flip_angle=(math.radians(120), math.radians(60)))

CASES = (
    *(
        Case(
            "b1-afi" if recovery == "linear" else f"b1-afi-{recovery}",
            lambda recovery=recovery: ActualFlipAngleSignal(INTERLEAVED, recovery),
            {
                "FA": INTERLEAVED.flip_angle,
                "TR": np.array(INTERLEAVED.repetition_time),
                "TRother": np.array(INTERLEAVED.repetition_time[::-1]),
            },
            schedule=("flip_angle", "repetition_time"),
        )
        for recovery in ActualFlipAngleSignal.RECOVERIES
    ),
    Case(
        "b1-dam",
        lambda: DoubleAngleSignal(DOUBLED),
        {"FA": np.array(DOUBLED.flip_angle)},
        schedule=("flip_angle",),
    ),
    Case("b0", lambda: PhaseEvolution(GRADIENT_ECHOES), None, schedule=("echo_time",)),
)
