"""Diffusion tensor, apparent diffusion, perfusion."""

from __future__ import annotations

from fastqmri.core import DiffusionWeighted, PulsedGradient
from fastqmri.estimators import diffusion
from fastqmri.estimators.catalogue.definitions import NLLS, Entry, Method
from fastqmri.physics.signal import ApparentDiffusion, DiffusionTensor, IntravoxelIncoherentMotion
from fastqmri.physics.spins import RestrictedDiffusion

ENTRIES = (
    Entry(
        "dti",
        "dwi",
        DiffusionWeighted,
        DiffusionTensor,
        (
            Method(
                "wls",
                "weighted linear least squares of the logarithms",
                diffusion.weighted,
                ("basser1994", "veraart2013"),
            ),
            Method(
                "ols",
                "ordinary linear least squares of the logarithms",
                diffusion.ordinary,
                ("basser1994",),
            ),
            Method(
                "iwls",
                "iteratively reweighted linear least squares of the logarithms",
                diffusion.iteratively_reweighted,
                ("veraart2013",),
            ),
            NLLS,
        ),
        ("FA", "MD", "AD", "RD", "S0", "Dxx", "Dxy", "Dxz", "Dyy", "Dyz", "Dzz"),
        example="--images dwi.nii.gz --bval dwi.bval --bvec dwi.bvec --out maps",
    ),
    Entry(
        "adc",
        None,
        DiffusionWeighted,
        ApparentDiffusion,
        (
            NLLS,
            Method("wls", "weighted line through ln S", diffusion.weighted, ("veraart2013",)),
            Method("ols", "ordinary line through ln S", diffusion.ordinary),
        ),
        ("ADC", "S0"),
        example="--images trace.nii.gz --b-value 0,500,1000s/mm2 --out maps",
    ),
    Entry(
        "ivim",
        None,
        DiffusionWeighted,
        IntravoxelIncoherentMotion,
        (NLLS,),
        ("f", "D", "Dstar", "S0"),
        example="--images dwi.nii.gz --bval dwi.bval --out maps",
    ),
    Entry(
        "restricted-diffusion",
        None,
        PulsedGradient,
        RestrictedDiffusion,
        (NLLS,),
        ("radius", "D", "S0"),
        options={"geometry": RestrictedDiffusion.SHAPES, "form": RestrictedDiffusion.FORMS},
        example="--images pgse.nii.gz --gradient-amplitude 0,0.1,0.2,0.3,0.4T/m --pulse-duration 8ms "
        "--pulse-separation 20ms --out maps",
        option_help={"form": "gaussian-phase (fast, for weak gradients), or exact (by eigenmodes)."},
    ),
)
