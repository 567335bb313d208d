"""Every map this package can make: the acquisition, the model, the methods, the outputs.

The command line, the BIDS application, the report and the benchmarks read this one table. A family of models is a
module of its own.
"""

from __future__ import annotations

from fastqmri.core import UnknownNameError
from fastqmri.estimators.catalogue import (
    diffusion,
    exchange,
    fields,
    fingerprinting,
    myelin_water,
    relaxometry,
    saturation,
    sequences,
    transfer,
)
from fastqmri.estimators.catalogue.definitions import NLLS, Entry, Method

__all__ = ["CATALOGUE", "NLLS", "Entry", "Method", "entry"]

_FAMILIES = (
    relaxometry,
    myelin_water,
    diffusion,
    fingerprinting,
    sequences,
    saturation,
    transfer,
    fields,
    exchange,
)
CATALOGUE: dict[str, Entry] = {entry.name: entry for family in _FAMILIES for entry in family.ENTRIES}


def entry(name: str) -> Entry:
    """Look an entry up.

    Raises:
        UnknownNameError: no such model.
    """
    if name not in CATALOGUE:
        raise UnknownNameError(
            f"model {name!r}", "there is no such model.", f"Use one of {', '.join(CATALOGUE)}."
        )
    return CATALOGUE[name]
