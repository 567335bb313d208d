"""The unit of a B1+ map: BIDS says percent, most programs write a fraction, few files say which."""

from __future__ import annotations

import torch
from torch import Tensor

from fastqmri.core import PlausibilityError

_FRACTION = (0.3, 3.0)
_PERCENT = (30.0, 300.0)


def b1_fraction(values: Tensor, mask: Tensor | None, name: str) -> tuple[Tensor, str | None]:
    """A B1+ map as a fraction of nominal, its unit told by the median over the mask.

    Args:
        values: (*voxels); zero, negative or not finite where nothing was measured.
        mask: (*voxels) bool, or None for all voxels.
        name: of the file, for messages.

    Returns:
        The map (*voxels) as a fraction, and a note if it was in percent.

    Raises:
        PlausibilityError: the median is neither about 1 nor about 100.
    """
    measured = torch.isfinite(values) & (values > 0)
    inside = values[measured if mask is None else measured & mask]
    if inside.numel() == 0:
        raise PlausibilityError(
            f"{name} has no positive value{'' if mask is None else ' inside the mask'}",
            "B1+ is a positive fraction (or percentage) of nominal.",
            "Check that it is the B1+ map, and that it covers the images.",
        )
    median = float(inside.median())
    if _FRACTION[0] <= median <= _FRACTION[1]:
        return values, None
    if _PERCENT[0] <= median <= _PERCENT[1]:
        return values / 100, f"{name} has a median of {median:.4g}: read as percent and divided by 100."
    raise PlausibilityError(
        f"{name} has a median of {median:.4g}",
        "a B1+ map has a median near 1 (fraction of nominal) or near 100 (percent).",
        "Convert it to a fraction of the nominal flip angle.",
    )
