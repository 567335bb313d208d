"""The dipole inversions by name."""

from __future__ import annotations

from fastqmri.core import UnknownNameError
from fastqmri.estimators.susceptibility.inversion import Inversion
from fastqmri.estimators.susceptibility.inversion_direct import ClosedForm, Cosmos, ThresholdedDivision
from fastqmri.estimators.susceptibility.inversion_nonlinear import NonlinearDipole
from fastqmri.estimators.susceptibility.inversion_variation import TotalVariation

_MANY = 64

INVERSIONS: dict[str, Inversion] = {
    one.name: one
    for one in (
        Inversion(
            "tkd",
            "thresholded k-space division; fast, underestimates, streaks",
            ("shmueli2009",),
            ThresholdedDivision(),
        ),
        Inversion(
            "tsvd",
            "division only where the dipole kernel is large; zero elsewhere",
            ("wharton2010",),
            ThresholdedDivision(truncate=True),
        ),
        Inversion(
            "l2", "closed form with a penalty on gradients; fast, smooth", ("bilgic2014",), ClosedForm()
        ),
        Inversion(
            "tv",
            "total variation; few streaks, the best for one orientation on phantoms",
            ("bilgic2014", "milovic2018"),
            TotalVariation(),
        ),
        Inversion(
            "medi",
            "total variation away from the magnitude's edges, data term of the complex signal",
            ("liu2012", "milovic2018"),
            TotalVariation(nonlinear=True, edges=0.3),
        ),
        Inversion(
            "ndi",
            "gradient descent on the complex signal, stopped early; any number of orientations, blind to wraps",
            ("polak2020",),
            NonlinearDipole(),
            most_orientations=_MANY,
        ),
        Inversion(
            "cosmos",
            "least squares of several orientations; the reference where there are three or more",
            ("liu2009",),
            Cosmos(),
            least_orientations=2,
            most_orientations=_MANY,
        ),
    )
}


def inversion(name: str) -> Inversion:
    """A dipole inversion by name.

    Raises:
        UnknownNameError: no such inversion.
    """
    if name not in INVERSIONS:
        raise UnknownNameError(
            f"dipole inversion {name!r}", "it doesn't exist here.", f"Choose one of {', '.join(INVERSIONS)}."
        )
    return INVERSIONS[name]
