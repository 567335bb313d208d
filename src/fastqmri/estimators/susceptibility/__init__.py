"""From the phases of gradient echoes to magnetic susceptibility."""

from fastqmri.estimators.susceptibility.background import (
    BACKGROUND_REMOVALS,
    BackgroundFree,
    BackgroundRemoval,
)
from fastqmri.estimators.susceptibility.echo_combination import (
    TotalField,
    combine_echoes,
    direction_of_b0,
    in_ppm,
)
from fastqmri.estimators.susceptibility.inversion import (
    Inversion,
    LocalField,
    SusceptibilityMap,
    field_noise,
    referenced,
)
from fastqmri.estimators.susceptibility.inversion_direct import (
    ClosedForm,
    Cosmos,
    ThresholdedDivision,
)
from fastqmri.estimators.susceptibility.inversion_nonlinear import NonlinearDipole
from fastqmri.estimators.susceptibility.inversion_variation import TotalVariation
from fastqmri.estimators.susceptibility.inversions import INVERSIONS, inversion
from fastqmri.estimators.susceptibility.mapping import SusceptibilityMapping, automatic_mask
from fastqmri.estimators.susceptibility.unwrapping import Unwrapped, unwrap_echoes

__all__ = [
    "BACKGROUND_REMOVALS",
    "INVERSIONS",
    "BackgroundFree",
    "BackgroundRemoval",
    "ClosedForm",
    "Cosmos",
    "Inversion",
    "LocalField",
    "NonlinearDipole",
    "SusceptibilityMap",
    "SusceptibilityMapping",
    "ThresholdedDivision",
    "TotalField",
    "TotalVariation",
    "Unwrapped",
    "automatic_mask",
    "combine_echoes",
    "direction_of_b0",
    "field_noise",
    "in_ppm",
    "inversion",
    "referenced",
    "unwrap_echoes",
]
