"""The transmit field (B1+) and the static field (B0)."""

from __future__ import annotations

from fastqmri.core import ActualFlipAngle, DoubleAngle, MultiEchoGradientEcho
from fastqmri.estimators import closed_forms
from fastqmri.estimators.catalogue.definitions import NLLS, Entry, Method
from fastqmri.estimators.unwrapping import between_neighbours
from fastqmri.physics.signal import ActualFlipAngleSignal, DoubleAngleSignal, PhaseEvolution

ENTRIES = (
    Entry(
        "b1-afi",
        "TB1AFI",
        ActualFlipAngle,
        ActualFlipAngleSignal,
        (
            Method(
                "ratio",
                "flip angle from the ratio of the two signals",
                closed_forms.actual_flip_angle,
                ("yarnykh2007",),
            ),
            NLLS,
        ),
        ("B1",),
        options={"recovery": ActualFlipAngleSignal.RECOVERIES},
        option_help={
            "recovery": "Recovery between excitations: linear for TR far below T1, or exact with T1 known."
        },
        example="--images tr1.nii.gz tr2.nii.gz --repetition-time 20,100ms --flip-angle 60deg --out maps",
    ),
    Entry(
        "b1-dam",
        "TB1DAM",
        DoubleAngle,
        DoubleAngleSignal,
        (
            Method(
                "ratio",
                "flip angle from the ratio of the two signals",
                closed_forms.double_angle,
                ("insko1993",),
            ),
            NLLS,
        ),
        ("B1",),
        example="--images fa60.nii.gz fa120.nii.gz --flip-angle 60,120deg --out maps",
    ),
    Entry(
        "b0",
        "phasediff",
        MultiEchoGradientEcho,
        PhaseEvolution,
        (
            Method(
                "unwrapped",
                "weighted line through the phases, wraps removed from echo to echo and between neighbours",
                closed_forms.phase_line,
                ("schneider1991", "herraez2002", "abdulrahman2007"),
                finish=between_neighbours,
            ),
            Method(
                "line",
                "weighted line through the phases, wraps removed from echo to echo only",
                closed_forms.phase_line,
                ("schneider1991",),
            ),
            NLLS,
        ),
        ("B0",),
        example="--images mag1.nii.gz mag2.nii.gz --phase ph1.nii.gz ph2.nii.gz --echo-time 4.9,7.4ms --out maps",
        needs_phase=True,
    ),
)
