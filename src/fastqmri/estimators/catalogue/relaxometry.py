"""T1, T2 and T2* from the closed forms of relaxation."""

from __future__ import annotations

from fastqmri.core import (
    InversionRecovery,
    LookLocker,
    MultiEchoGradientEcho,
    MultiEchoSpinEcho,
    VariableFlipAngle,
)
from fastqmri.estimators import relaxometry
from fastqmri.estimators.catalogue.definitions import NLLS, Entry, Method
from fastqmri.physics.signal import (
    BiexponentialDecay,
    ComplexGradientEcho,
    ExponentialDecay,
    InversionRecoverySignal,
    LookLockerSignal,
    SpinEchoTrain,
    SpoiledGradientEcho,
)

_DECAY_METHODS = (
    NLLS,
    Method("loglinear", "straight line through ln S, weighted by S²", relaxometry.log_linear),
)

ENTRIES = (
    Entry(
        "vfa",
        "VFA",
        VariableFlipAngle,
        SpoiledGradientEcho,
        (
            NLLS,
            Method(
                "novifast",
                "fixed point of the non-linear least-squares equations",
                relaxometry.novifast,
                ("ramosllorden2018",),
            ),
            Method("irwls", "iteratively reweighted linear fit", relaxometry.reweighted, ("chang2008",)),
            Method("despot1", "unweighted linear fit", relaxometry.despot1, ("deoni2003",)),
        ),
        ("T1", "R1", "M0"),
        example="--images fa3.nii.gz fa20.nii.gz --flip-angle 3deg,20deg --repetition-time 15ms --out maps",
    ),
    Entry(
        "irt1",
        "IRT1",
        InversionRecovery,
        InversionRecoverySignal,
        (NLLS,),
        ("T1", "R1", "M0", "inversion_factor"),
        options={"signal": ("magnitude", "real", "complex"), "inversion": ("free", "perfect")},
        example="--images ir.nii.gz --inversion-time 50,400,1100,2500ms --out maps",
    ),
    Entry(
        "looklocker",
        None,
        LookLocker,
        LookLockerSignal,
        (NLLS,),
        ("T1", "R1", "M0", "T1star"),
        options={"signal": ("magnitude", "real")},
        example="--images ll.nii.gz --inversion-time 0.1:0.2:2.9s --out maps",
    ),
    Entry(
        "mese",
        "MESE",
        MultiEchoSpinEcho,
        ExponentialDecay,
        _DECAY_METHODS,
        ("T2", "R2", "M0", "offset"),
        options={"offset": (False, True)},
        example="--images mese.nii.gz --echo-time 10:10:320ms --mask brain.nii.gz --out maps",
        option_help={"offset": "Fit a constant noise floor under the decay."},
    ),
    Entry(
        "mese-stimulated",
        None,
        MultiEchoSpinEcho,
        SpinEchoTrain,
        (NLLS,),
        ("T2", "R2", "M0", "B1"),
        options={"profile": SpinEchoTrain.PROFILES},
        example="--images mese.nii.gz --echo-time 10:10:320ms --mask brain.nii.gz --out maps",
    ),
    Entry(
        "megre",
        "MEGRE",
        MultiEchoGradientEcho,
        ExponentialDecay,
        _DECAY_METHODS,
        ("T2star", "R2star", "M0", "offset"),
        options={"offset": (False, True)},
        example="--images e1.nii.gz e2.nii.gz e3.nii.gz --echo-time 14.5,38.5,62.5ms --out maps",
        option_help={"offset": "Fit a constant noise floor under the decay."},
    ),
    Entry(
        "megre-complex",
        None,
        MultiEchoGradientEcho,
        ComplexGradientEcho,
        (NLLS,),
        ("T2star", "R2star", "B0", "M0", "phase"),
        example="--images mag.nii.gz --phase phase.nii.gz --echo-time 4,8,12ms --out maps",
        needs_phase=True,
    ),
    Entry(
        "biexponential",
        None,
        MultiEchoSpinEcho,
        BiexponentialDecay,
        (NLLS,),
        ("f", "T2short", "T2long", "M0"),
        example="--images mese.nii.gz --echo-time 10:10:320ms --out maps",
    ),
)
