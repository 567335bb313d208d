"""A network's maps beside classical ones of the same scan."""

from __future__ import annotations

from dataclasses import dataclass

from fastqmri.core import ParameterMaps


@dataclass(frozen=True)
class MethodComparison:
    """What a report shows of a network against a classical method.

    Attributes:
        network: name of its recipe.
        classical: name of the method beside it.
        own: the network's maps.
        other: the classical ones, on the same voxels; those not compared are masked.
        seconds: the network took for all its maps.
        other_seconds: the classical method took for the compared part.
        card: sentences on what the network was trained for and how far it errs.
        names: parameters to compare; all that both have if empty.
    """

    network: str
    classical: str
    own: ParameterMaps
    other: ParameterMaps
    seconds: float
    other_seconds: float
    card: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
