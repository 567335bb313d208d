"""Magnetisation transfer and CEST from closed forms."""

from __future__ import annotations

from fastqmri.core import BalancedMagnetizationTransfer, QuantitativeMagnetizationTransfer, ZSpectrum
from fastqmri.core.units import OFFSET
from fastqmri.estimators.asymmetry import sampled
from fastqmri.estimators.catalogue.definitions import NLLS, Entry, Method, Setting
from fastqmri.physics.signal import (
    BalancedTransferSignal,
    LorentzianPools,
    RamaniSignal,
    WasabiSignal,
    YarnykhSignal,
    ZAsymmetry,
)
from fastqmri.physics.signal.z_spectrum import POOLS, glutamate, water_line

_NORMALISED = {
    "normalised": "The images were divided by one without saturation pulse: M0 is one, not fitted."
}
_PROTOCOL = (
    "--images qmt.nii.gz --saturation-angle 142,426,142,426,142,426,142,426deg "
    "--offset 443,443,1088,1088,2732,2732,6862,6862Hz --pulse-duration 10.2ms --repetition-time 25ms"
)
_SAMPLED = Method(
    "interpolation",
    "difference of the interpolated samples, standard deviations from those of the samples",
    sampled,
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
        option_help={
            **_NORMALISED,
            "water": "T2f of water: fitted (free), from R1f T2f = 0.055 (fixed), or the map of --t2f (measured).",
        },
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
    Entry(
        "cest-lorentz",
        None,
        ZSpectrum,
        LorentzianPools,
        (NLLS,),
        (
            *(
                "A_amide",
                "A_noe",
                "A_mt",
                "A_amine",
                "A_water",
                "dB0",
                "MTRRex_amide",
                "MTRRex_noe",
                "MTRRex_amine",
            ),
            *(f"{letter}_{pool}" for letter in "Gd" for pool in ("amide", "noe", "mt", "amine")),
            *("G_water", "M0"),
        ),
        options={"pools": tuple(POOLS), "shifts": LorentzianPools.SHIFTS},
        option_help={
            "pools": "4: water, amide, NOE, MT; 5: and amine; 3: without MT; 2: water and MT; 1: water.",
            "shifts": "Shifts of the pools from water: fixed, or fitted within 0.4 ppm.",
        },
        example="--images z.nii.gz --offset -300,-10:0.5:10ppm --out maps",
    ),
    Entry(
        "wassr",
        None,
        ZSpectrum,
        water_line,
        (NLLS,),
        ("dB0", "G_water", "A_water", "M0"),
        example="--images wassr.nii.gz --offset -1:0.1:1ppm --out maps",
    ),
    Entry(
        "wasabi",
        None,
        ZSpectrum,
        WasabiSignal,
        (NLLS,),
        ("B1", "dB0", "c", "M0"),
        example="--images wasabi.nii.gz --offset -300,-2:0.125:2ppm --saturation-b1 3.7uT --saturation-time 5ms "
        "--field-strength 3T --out maps",
    ),
    Entry(
        "cest-asymmetry",
        None,
        ZSpectrum,
        ZAsymmetry,
        (_SAMPLED,),
        ("MTRasym",),
        options={"interpolation": ZAsymmetry.INTERPOLATION, "normalised": (False, True)},
        option_help={"normalised": "The images were divided by the unsaturated one."},
        settings={
            "shift": Setting(OFFSET, 3.5, "Shift from water that the asymmetry is taken at."),
            "window": Setting(
                OFFSET, 0.0, "Full width about it that is averaged over: 0.5ppm for 3.25 to 3.75."
            ),
        },
        example="--images z.nii.gz --offset -300,-4:0.25:4ppm --window 0.5ppm --db0 dB0.nii.gz --out maps",
    ),
    Entry(
        "glucest",
        None,
        ZSpectrum,
        glutamate,
        (_SAMPLED,),
        ("GluCEST",),
        options={"interpolation": ZAsymmetry.INTERPOLATION},
        settings={"shift": Setting(OFFSET, 3.0, "Shift of the amine protons from water.")},
        example="--images z.nii.gz --offset -4.2:0.2:-1.8,1.8:0.2:4.2ppm --db0 dB0.nii.gz --out maps",
    ),
)
