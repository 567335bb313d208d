"""Fields of susceptibility: one and several directions of B0, scalars and tensors."""

from __future__ import annotations

from fastqmri.physics.encoding import Dipole, SusceptibilityTensor, dipole_and_rest
from physics.encoding.checks import OperatorCase

_VOLUME, _EVEN, _SIZE = (3, 5, 4), (6, 4, 8), (0.7, 1.0, 2.0)
_OBLIQUE, _SEVERAL = (0.3, -0.4, 0.8), ((0, 0, 1), (0.3, 0, 1), (0.1, -0.5, 0.9))
_REAL = {"takes_complex": False, "gives_complex": False}


CASES = [
    OperatorCase(
        "dipole", lambda g, d: Dipole(_VOLUME, _SIZE, dtype=d), (2, *_VOLUME), (2, *_VOLUME), **_REAL
    ),
    OperatorCase(
        "dipole-oblique",
        lambda g, d: Dipole(_EVEN, _SIZE, _OBLIQUE, dtype=d),
        (2, *_EVEN),
        (2, *_EVEN),
        **_REAL,
    ),
    OperatorCase(
        "dipole-padded",
        lambda g, d: Dipole(_VOLUME, _SIZE, _OBLIQUE, padding=2, dtype=d),
        (2, *_VOLUME),
        (2, *_VOLUME),
        **_REAL,
    ),
    OperatorCase(
        "dipole-directions", lambda g, d: Dipole(_EVEN, _SIZE, _SEVERAL, dtype=d), _EVEN, (3, *_EVEN), **_REAL
    ),
    OperatorCase(
        "dipole-directions-padded",
        lambda g, d: Dipole(_VOLUME, _SIZE, _SEVERAL, padding=1.5, dtype=d),
        (2, *_VOLUME),
        (2, 3, *_VOLUME),
        **_REAL,
    ),
    OperatorCase(
        "susceptibility-tensor",
        lambda g, d: SusceptibilityTensor(_EVEN, _SIZE, _OBLIQUE, dtype=d),
        (2, 6, *_EVEN),
        (2, *_EVEN),
        **_REAL,
    ),
    OperatorCase(
        "susceptibility-tensor-directions",
        lambda g, d: SusceptibilityTensor(_VOLUME, _SIZE, _SEVERAL, padding=2, dtype=d),
        (6, *_VOLUME),
        (3, *_VOLUME),
        **_REAL,
    ),
    OperatorCase(
        "dipole-and-rest",
        lambda g, d: dipole_and_rest(Dipole(_VOLUME, _SIZE, _OBLIQUE, dtype=d)),
        (2, *_VOLUME),
        _VOLUME,
        **_REAL,
    ),
]
