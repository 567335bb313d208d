"""Finite differences and wavelets."""

from __future__ import annotations

from fastqmri.physics.encoding import FiniteDifferences, Wavelets
from physics.encoding.checks import OperatorCase

_PLANE, _VOLUME = (5, 8), (3, 5, 4)

CASES = [
    OperatorCase("differences-2d", lambda g, d: FiniteDifferences(2), (2, *_PLANE), (2, 2, *_PLANE)),
    OperatorCase("differences-3d", lambda g, d: FiniteDifferences(3), (2, *_VOLUME), (2, 3, *_VOLUME)),
    OperatorCase("haar-2d", lambda g, d: Wavelets(_PLANE, "haar", 2), (2, *_PLANE), (2, 8, 8)),
    OperatorCase("wavelets-2d", lambda g, d: Wavelets((13, 18), "db4", 2), (2, 13, 18), (2, 16, 20)),
    OperatorCase("wavelets-3d", lambda g, d: Wavelets(_VOLUME, "sym4", 1), (2, *_VOLUME), (2, 4, 6, 4)),
    OperatorCase(
        "wavelets-real",
        lambda g, d: Wavelets(_PLANE),
        (2, *_PLANE),
        (2, 6, 8),
        takes_complex=False,
        gives_complex=False,
    ),
]
