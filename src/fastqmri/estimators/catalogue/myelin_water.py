"""Myelin water from distributions of T2."""

from __future__ import annotations

from fastqmri.core import MultiEchoSpinEcho
from fastqmri.estimators.catalogue.definitions import Entry, Method
from fastqmri.estimators.t2_distribution import NonNegative
from fastqmri.physics.signal import T2Distribution

ENTRIES = (
    Entry(
        "myelin-water",
        None,
        MultiEchoSpinEcho,
        T2Distribution,
        (
            Method(
                "nnls-chi2",
                "non-negative least squares, as smooth as 2 % more misfit allow",
                NonNegative("factor", 1.02),
                ("lawson1974", "whittall1989", "doucette2020"),
            ),
            Method(
                "nnls-gcv",
                "non-negative least squares, regularised by generalised cross-validation",
                NonNegative("generalised"),
                ("lawson1974", "golub1979"),
            ),
            Method(
                "nnls-lcurve",
                "non-negative least squares, regularised at the corner of the L-curve",
                NonNegative("corner"),
                ("lawson1974", "hansen1992"),
            ),
            Method("nnls", "non-negative least squares alone", NonNegative("none"), ("lawson1974",)),
        ),
        ("MWF", "T2ie", "T2gm", "M0", "B1"),
        options={"components": T2Distribution.COMPONENTS, "profile": T2Distribution.PROFILES},
        example="--images mese.nii.gz --echo-time 10:10:320ms --mask brain.nii.gz --out maps",
        option_help={
            "profile": "Average over a slice whose angles fall off as a Gaussian, where pulses are selective.",
            "components": "Echoes of every T2 with their sign, or their absolute values as some programs take.",
        },
    ),
)
