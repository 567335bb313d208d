"""Magnetisation transfer: ratio, saturation, multi-parameter mapping."""

from __future__ import annotations

from fastqmri.core import MagnetizationTransferRatio, MagnetizationTransferSaturation, MultiParameterMapping
from fastqmri.estimators import closed_forms, diffusion
from fastqmri.estimators.catalogue.definitions import NLLS, Entry, Method
from fastqmri.physics.signal import MultiParameter, TransferRatio, TransferSaturation
from fastqmri.physics.signal.transfer import CORRECTIONS

_CORRECTION = {
    "correction": "How the saturation depends on B1: semi-empirical, B1² (1 - 0.4 B1)/0.6; quadratic, B1²; "
    "or none, for the saturation at the field that there was."
}

ENTRIES = (
    Entry(
        "mtr",
        "MTR",
        MagnetizationTransferRatio,
        TransferRatio,
        (Method("ratio", "ratio of the mean images", closed_forms.transfer_ratio, ("wolff1989",)), NLLS),
        ("MTR", "M0"),
        example="--images mt0.nii.gz mt1.nii.gz --mt-state off,on --out maps",
    ),
    Entry(
        "mtsat",
        "MTS",
        MagnetizationTransferSaturation,
        TransferSaturation,
        (
            Method(
                "helms",
                "T1 and M0 from the line through the images without the pulse, then MTsat",
                closed_forms.helms,
                ("helms2008",),
            ),
            NLLS,
        ),
        ("MTsat", "T1", "R1", "M0"),
        options={"correction": CORRECTIONS},
        option_help=_CORRECTION,
        example="--images mtw.nii.gz pdw.nii.gz t1w.nii.gz --mt-state on,off,off --flip-angle 6,6,20deg "
        "--repetition-time 28,28,18ms --b1 b1.nii.gz --out maps",
    ),
    Entry(
        "mpm",
        "MPM",
        MultiParameterMapping,
        MultiParameter,
        (
            NLLS,
            Method(
                "wls",
                "weighted linear least squares of the logarithms, then the steady states solved",
                diffusion.weighted,
                ("weiskopf2014",),
            ),
        ),
        ("R1", "T1", "R2star", "PD", "MTsat", "T2star"),
        options={"correction": CORRECTIONS},
        option_help=_CORRECTION,
        example="--images pdw1.nii.gz pdw2.nii.gz t1w1.nii.gz t1w2.nii.gz mtw1.nii.gz mtw2.nii.gz "
        "--echo-time 2.3,4.6,2.3,4.6,2.3,4.6ms --flip-angle 6,6,21,21,6,6deg "
        "--repetition-time 25,25,25,25,25,25ms --mt-state off,off,off,off,on,on --b1 b1.nii.gz --out maps",
    ),
)
