"""Every operator under test: it joins all parametrised tests by one `OperatorCase` in the module of its family."""

from __future__ import annotations

from physics.encoding.cases import (
    cartesian,
    dipole,
    non_cartesian,
    sparsity,
)

_FAMILIES = (
    cartesian,
    dipole,
    non_cartesian,
    sparsity,
)
CASES = tuple(case for family in _FAMILIES for case in family.CASES)
