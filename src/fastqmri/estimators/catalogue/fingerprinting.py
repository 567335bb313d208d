"""Relaxation times from trains that extended phase graphs describe."""

from __future__ import annotations

from fastqmri.core import Fingerprinting, RefocusingTrain
from fastqmri.estimators.catalogue.definitions import MATCHING, NLLS, Entry
from fastqmri.physics.spins import FingerprintingSignal, RefocusedEchoes

ENTRIES = (
    Entry(
        "fingerprinting",
        None,
        Fingerprinting,
        FingerprintingSignal,
        (NLLS, *MATCHING),
        ("T1", "T2", "M0", "R1", "R2"),
        options={"signal": FingerprintingSignal.SIGNALS, "profile": FingerprintingSignal.PROFILES},
        example="--images mrf.nii.gz --schedule irfisp-1000 --mask brain.nii.gz --out maps",
        option_help={"profile": "Average over a slice whose flip angle falls off as a Gaussian."},
    ),
    Entry(
        "refocusing-train",
        None,
        RefocusingTrain,
        RefocusedEchoes,
        (NLLS,),
        ("T2", "R2", "M0", "B1"),
        options={"profile": RefocusedEchoes.PROFILES},
        example="--images echoes.nii.gz --schedule refocusing-16 --mask brain.nii.gz --out maps",
        option_help={"profile": "Average over a slice whose angles fall off as a Gaussian."},
    ),
)
