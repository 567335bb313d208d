"""Which counter of a scan numbers its contrasts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastqmri.core import FileError, UnknownNameError

CONTRAST_AXES = ("contrast", "set", "repetition", "phase")


def number_contrasts(
    counters: Mapping[str, NDArray[Any]], axis: str | None, promised: Mapping[str, int], path: Path
) -> NDArray[np.int64]:
    """The contrast of each readout, counted from 0.

    Args:
        counters: name -> of each readout.
        axis: the counter that numbers contrasts, or several joined by ``+``; None takes the one that varies,
            or should.
        promised: name -> how many the header says there are.
        path: of the file.

    Raises:
        UnknownNameError: no such counter.
        FileError: several vary and it isn't said which counts, or a contrast has no readout.
    """
    varying = [name for name in CONTRAST_AXES if len(np.unique(counters[name])) > 1]
    chosen = (
        axis.split("+") if axis else varying or [name for name in CONTRAST_AXES if promised.get(name, 1) > 1]
    )
    if any(name not in CONTRAST_AXES for name in chosen):
        raise UnknownNameError(
            f"contrast axis {axis!r}",
            f"the counters that can number contrasts are {', '.join(CONTRAST_AXES)}.",
            "Name one of them, or several joined by +.",
        )
    extent = {name: int(counters[name].max()) + 1 for name in CONTRAST_AXES}
    if (axis is None and len(varying) > 1) or (set(varying) - set(chosen)):
        told = ", ".join(f"{name} (0 to {extent[name] - 1})" for name in varying)
        raise FileError(
            f"{path}: the counters {told} vary",
            "it isn't clear which of them numbers the contrasts.",
            f"Name it as the contrast axis; {'+'.join(varying)} takes them all, the first slowest.",
        )
    number = np.zeros(len(counters["contrast"]), np.int64)
    total = 1
    for name in chosen:
        size = max(extent[name], promised.get(name, 0))
        number = number * size + counters[name].astype(np.int64)
        total *= size
    missing = sorted(set(range(total)) - set(np.unique(number).tolist()))
    if missing:
        raise FileError(
            f"{path}: no readout of contrast {', '.join(map(str, missing[:6]))} (counted from 0) of {total}",
            f"the counters {'+'.join(chosen)} and the header promise it.",
            "Export the scan again; it may have been cut short.",
        )
    return number
