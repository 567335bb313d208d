"""T1 and T2 from fingerprinting trains."""

from __future__ import annotations

from fastqmri.core import Fingerprinting
from fastqmri.estimators.catalogue.definitions import NLLS, Entry
from fastqmri.physics.spins import FingerprintingSignal

ENTRIES = (
    Entry(
        "fingerprinting",
        None,
        Fingerprinting,
        FingerprintingSignal,
        (NLLS,),
        ("T1", "T2", "M0", "R1", "R2"),
        options={"signal": FingerprintingSignal.SIGNALS, "profile": FingerprintingSignal.PROFILES},
        example="--images mrf.nii.gz --schedule irfisp-1000 --mask brain.nii.gz --out maps",
        option_help={"profile": "Average over a slice whose flip angle falls off as a Gaussian."},
    ),
)
