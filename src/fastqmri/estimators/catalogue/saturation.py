"""Magnetisation transfer and CEST from closed forms."""

from __future__ import annotations

from fastqmri.core import BalancedMagnetizationTransfer, QuantitativeMagnetizationTransfer
from fastqmri.estimators.catalogue.definitions import NLLS, Entry
from fastqmri.physics.signal import BalancedTransferSignal, RamaniSignal, YarnykhSignal

_NORMALISED = {
    "normalised": "The images were divided by one without saturation pulse: M0 is one, not fitted."
}
_PROTOCOL = (
    "--images qmt.nii.gz --saturation-angle 142,426,142,426,142,426,142,426deg "
    "--offset 443,443,1088,1088,2732,2732,6862,6862Hz --pulse-duration 10.2ms --repetition-time 25ms"
)
_POOLS = ("F", "kf", "T2r", "kr", "T2f", "R1f", "M0")

ENTRIES = (
    Entry(
        "qmt",
        None,
        QuantitativeMagnetizationTransfer,
        RamaniSignal,
        (NLLS,),
        _POOLS,
        options={"normalised": (False, True), "water": RamaniSignal.WATER},
        option_help={**_NORMALISED, "water": "T2f of water: fitted, or from R1f T2f = 0.055."},
        example=f"{_PROTOCOL} --r1 R1map.nii.gz --b0 B0map.nii.gz --b1 B1map.nii.gz --out maps",
    ),
    Entry(
        "qmt-yarnykh",
        None,
        QuantitativeMagnetizationTransfer,
        YarnykhSignal,
        (NLLS,),
        _POOLS,
        options={"normalised": (False, True)},
        option_help=_NORMALISED,
        example=f"{_PROTOCOL} --flip-angle 7deg --r1 R1map.nii.gz --out maps",
    ),
    Entry(
        "qmt-bssfp",
        None,
        BalancedMagnetizationTransfer,
        BalancedTransferSignal,
        (NLLS,),
        ("F", "kf", "kr", "T2f", "R1f", "M0"),
        example="--images ssfp.nii.gz --flip-angle 5,15,25,35,35,35deg --pulse-duration 0.27,0.27,0.27,0.27,0.6,2.1ms "
        "--repetition-time 2.97,2.97,2.97,2.97,3.3,4.8ms --r1 R1map.nii.gz --out maps",
    ),
)
