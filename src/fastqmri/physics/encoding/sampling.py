"""Which samples of k-space are measured."""

from __future__ import annotations

import torch
from torch import Tensor

from fastqmri.core import PlausibilityError


def variable_density_lines(
    lines: int,
    contrasts: int,
    acceleration: float,
    *,
    generator: torch.Generator,
    centre: int | None = None,
    decay: float = 3.0,
) -> Tensor:
    """Random phase-encoding lines, other ones for every contrast: (contrast, line) bool.

    Each contrast has the same number of lines, ``lines / acceleration``; those besides the centre are drawn without
    replacement with density (1 - |k| / k_max)^decay + 0.02.

    Args:
        lines: of the full matrix.
        contrasts: number of masks.
        acceleration: R.
        generator: draws the lines.
        centre: fully sampled lines in the middle; 5 % of all but at least 4 if None.
        decay: how fast the density falls.

    Raises:
        PlausibilityError: fewer lines than the centre has, or an acceleration below 1.
    """
    middle = max(4, round(0.05 * lines)) if centre is None else centre
    count = round(lines / acceleration) if acceleration > 0 else 0
    if acceleration < 1 or count < max(middle, 1):
        raise PlausibilityError(
            f"acceleration {acceleration:g} with {middle} central of {lines} lines",
            "R is at least 1, and lines / R must leave room for the centre.",
            "Choose a smaller acceleration or a smaller centre.",
        )
    begin = lines // 2 - middle // 2
    central = torch.zeros(lines, dtype=torch.bool)
    central[begin : begin + middle] = True
    distance = (torch.arange(lines, dtype=torch.float64) - lines // 2).abs() / (lines / 2)
    density = (1 - distance).clamp_min(0) ** decay + 0.02
    density[central] = 0
    mask = central.repeat(contrasts, 1)
    if count > middle:
        for row in mask:
            row[torch.multinomial(density, count - middle, generator=generator)] = True
    return mask
