"""T1 and T2 from any pulse sequence, simulated by isochromats."""

from __future__ import annotations

from fastqmri.estimators.catalogue.definitions import NLLS, Entry
from fastqmri.physics.spins import BlochSignal, PulseSequence

ENTRIES = (
    Entry(
        "bloch",
        None,
        PulseSequence,
        BlochSignal,
        (NLLS,),
        ("T1", "T2", "M0", "R1", "R2"),
        options={"signal": BlochSignal.SIGNALS},
        example="--images series.nii.gz --schedule prepared-16 --mask brain.nii.gz --out maps",
    ),
)
