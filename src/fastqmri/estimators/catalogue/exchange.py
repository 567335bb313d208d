"""Exchange rates and pool sizes from saturation fingerprints and spectra."""

from __future__ import annotations

from typing import Literal

from fastqmri.core import SaturationTransfer
from fastqmri.estimators.catalogue.definitions import NLLS, Entry
from fastqmri.physics.spins import ChemicalExchange, TwoPoolTransfer

_FRACTIONS = ("f_amide", "f_amine", "f_guanidinium", "f_NOE", "f_MT")
_ESTIMATED: dict[str, tuple[str, ...]] = {
    "white-matter": _FRACTIONS,
    "grey-matter": ("f_glutamate", "f_amide", "f_guanidinium", "f_MT"),
    "l-arginine": ("f_amine", "k_amine"),
}


def arginine_fingerprint(
    acquisition: SaturationTransfer, water: Literal["known", "fitted"] = "known"
) -> ChemicalExchange:
    """Exchange rate and concentration of L-arginine, whose amine has three exchanging protons."""
    return ChemicalExchange(acquisition, "l-arginine", water=water, protons=3)


def spectrum(
    acquisition: SaturationTransfer,
    tissue: str = "white-matter",
    water: Literal["known", "fitted"] = "known",
) -> ChemicalExchange:
    """Sizes of the pools of a tissue from a Z-spectrum; exchange rates are the tissue's."""
    return ChemicalExchange(acquisition, tissue, _ESTIMATED.get(tissue), water=water)


_WATER_HELP = "Water's T1 and T2: known from maps (else nominal), or fitted too."

ENTRIES = (
    Entry(
        "mtc-mrf",
        None,
        SaturationTransfer,
        TwoPoolTransfer,
        (NLLS,),
        ("k", "f", "T2m", "T1", "M0"),
        options={"form": TwoPoolTransfer.FORMS, "lineshape": TwoPoolTransfer.LINESHAPES},
        example="--images mtc.nii.gz --schedule mtc-mrf-40 --mask brain.nii.gz --out maps",
        option_help={
            "form": "The closed form, or the Bloch-McConnell equations.",
            "lineshape": "Of the semi-solid pool.",
        },
    ),
    Entry(
        "cest-mrf",
        None,
        SaturationTransfer,
        arginine_fingerprint,
        (NLLS,),
        ("k_amine", "concentration", "f_amine", "M0", "T1", "T2"),
        options={"water": ChemicalExchange.WATER},
        example="--images cest.nii.gz --schedule cest-mrf-arginine --mask vials.nii.gz --out maps",
        option_help={"water": _WATER_HELP},
    ),
    Entry(
        "cest-bm",
        None,
        SaturationTransfer,
        spectrum,
        (NLLS,),
        (*_FRACTIONS, "f_glutamate", "k_amine", "M0", "T1", "T2"),
        options={"tissue": tuple(_ESTIMATED), "water": ChemicalExchange.WATER},
        example="--images zspectrum.nii.gz --schedule deepcest-3t --mask brain.nii.gz --out maps",
        option_help={"tissue": "Its pools, with their exchange rates.", "water": _WATER_HELP},
    ),
)
