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
from fastqmri.estimators.susceptibility.unwrapping import Unwrapped, unwrap_echoes

__all__ = [
    "BACKGROUND_REMOVALS",
    "BackgroundFree",
    "BackgroundRemoval",
    "TotalField",
    "Unwrapped",
    "combine_echoes",
    "direction_of_b0",
    "in_ppm",
    "unwrap_echoes",
]
