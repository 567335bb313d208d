"""Which samples of k-space are measured."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fastqmri.core import PlausibilityError


def line_density(
    lines: int, acceleration: float, *, centre: int | None = None, decay: float = 3.0
) -> tuple[Tensor, Tensor, int]:
    """What `variable_density_lines` draws from.

    Args:
        lines: of the full matrix.
        acceleration: R.
        centre: fully sampled lines in the middle; 5 % of all but at least 4 if None.
        decay: how fast the density falls.

    Returns:
        Which lines are central, (line) bool; the density of the others, (line) float64, zero for central ones; and the
        number of lines to measure, central ones included.

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
    return central, density, count


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
    central, density, count = line_density(lines, acceleration, centre=centre, decay=decay)
    middle = int(central.sum())
    mask = central.repeat(contrasts, 1)
    if count > middle:
        for row in mask:
            row[torch.multinomial(density, count - middle, generator=generator)] = True
    return mask


def regular_lines(
    lines: int, contrasts: int, acceleration: int, *, centre: int = 24, shifted: bool = False
) -> Tensor:
    """Every R-th phase-encoding line, and all of the middle ones: (contrast, line) bool.

    Args:
        lines: of the full matrix.
        contrasts: number of masks.
        acceleration: R, of the lines besides the middle.
        centre: fully sampled lines in the middle, for calibration.
        shifted: move the pattern by one line from contrast to contrast.

    Raises:
        PlausibilityError: R below one or beyond the matrix, or a centre larger than the matrix.
    """
    if not 1 <= acceleration <= lines or not 0 <= centre <= lines:
        raise PlausibilityError(
            f"every {acceleration}th of {lines} lines with {centre} in the middle",
            "R lies between 1 and the number of lines, the middle within them.",
            "Choose a smaller acceleration or a smaller centre.",
        )
    line = torch.arange(lines)
    begin = lines // 2 - centre // 2
    middle = (line >= begin) & (line < begin + centre)
    offset = torch.arange(contrasts)[:, None] if shifted else torch.zeros(contrasts, 1, dtype=torch.long)
    return ((line - lines // 2 - offset) % acceleration == 0) | middle


def poisson_disc(
    matrix: tuple[int, int],
    contrasts: int,
    acceleration: float,
    *,
    generator: torch.Generator,
    centre: int | None = None,
    slope: float = 2.0,
) -> Tensor:
    """Variable-density Poisson disc of two phase-encoding axes, another one for every contrast.

    Samples besides the centre keep a distance of r0 (1 + slope |k| / k_max), the larger of any two; r0 is found so that
    each contrast has matrix / R samples, to the sample.

    Source: dart throwing, Bridson 2007, over all points of the grid in random order.

    Args:
        matrix: of the two axes.
        contrasts: number of masks.
        acceleration: R.
        generator: draws the order.
        centre: side of the fully sampled rectangle in the middle; 8 % of each side but at least 4 if None.
        slope: how fast distances grow towards the rim, relative to r0; zero is an even density.

    Returns:
        (contrast, *matrix) bool.

    Raises:
        PlausibilityError: R below one, fewer samples than the centre has, or a negative slope.
    """
    from fastqmri.solvers.compiled_darts import throw

    sizes = [min(side, max(4, round(0.08 * side)) if centre is None else centre) for side in matrix]
    middle = torch.zeros(matrix, dtype=torch.bool)
    top, left = (side // 2 - size // 2 for side, size in zip(matrix, sizes, strict=True))
    middle[top : top + sizes[0], left : left + sizes[1]] = True
    wanted = round(matrix[0] * matrix[1] / acceleration) if acceleration > 0 else 0
    needed = wanted - int(middle.sum())
    if acceleration < 1 or needed < 0 or slope < 0:
        raise PlausibilityError(
            f"acceleration {acceleration:g}, slope {slope:g}, {int(middle.sum())} of {middle.numel()} samples central",
            "R is at least 1, matrix / R must leave room for the centre, and distances don't shrink outwards.",
            "Choose a smaller acceleration or a smaller centre.",
        )
    axes = [(torch.arange(side, dtype=torch.float64) - side // 2) / (side / 2) for side in matrix]
    growth = 1 + slope * torch.stack(torch.meshgrid(*axes, indexing="ij")).square().sum(0).sqrt().numpy()
    outside = np.flatnonzero(~middle.numpy())
    masks = []
    for _ in range(contrasts):
        order = outside[torch.randperm(len(outside), generator=generator).numpy()]

        def thrown(radius: float, order: np.ndarray = order) -> np.ndarray:
            taken = np.zeros(matrix, dtype=bool)
            throw(order, radius * growth, taken)
            return taken

        # the largest distance at which there still are enough samples; those too many are dropped at random
        low, high = 0.0, 2 * acceleration**0.5
        best = thrown(low)
        while high - low > 1e-3 * high and best.sum() != needed:
            radius = (low + high) / 2 if low == 0 else (low * high) ** 0.5
            taken = thrown(radius)
            low, high, best = (radius, high, taken) if taken.sum() >= needed else (low, radius, best)
        surplus = torch.from_numpy(np.flatnonzero(best))
        kept = surplus[torch.randperm(len(surplus), generator=generator)[:needed]]
        mask = middle.clone()
        mask.view(-1)[kept] = True
        masks.append(mask)
    return torch.stack(masks)
