"""Every signal model: it joins all parametrised tests by one `Case` in the module of its family."""

from __future__ import annotations

from physics.cases import (
    diffusion,
    exchange,
    fields,
    fingerprinting,
    magnetization_transfer,
    relaxometry,
    sequences,
    transfer,
    z_spectrum,
)

_FAMILIES = (
    relaxometry,
    diffusion,
    exchange,
    fingerprinting,
    sequences,
    magnetization_transfer,
    transfer,
    fields,
    z_spectrum,
)
CASES = tuple(case for family in _FAMILIES for case in family.CASES)
BY_NAME = {case.name: case for case in CASES}
