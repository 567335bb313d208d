"""Colours of parameter maps.

Relaxation times and rates follow the recommendation of Fuderer et al. 2025 (doi 10.1002/mrm.30290): Lipari
and Navia tables, bent along a logarithmic curve, with black kept for voxels without a valid value. What that
paper leaves open (anisotropy, diffusivities, fields, uncertainties) follows Crameri et al. 2020
(doi 10.1038/s41467-020-19160-7): one lightness ramp for what starts at zero, two for what has a centre.
In every table entry 0 is black and means that there is nothing to show.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastqmri.core import DataError, UnknownNameError

Floats = NDArray[np.float64]

ENTRIES = 256

_LIPARI = ("T1", "T1star", "R1", "R1star")
_NAVIA = ("T2", "T2star", "T1rho", "T2short", "T2long", "R2", "R2star", "R1rho")
_CENTRES = {
    "B1": 1.0,
    "B0": 0.0,
    "Chi": 0.0,
    "local_field": 0.0,
    "off_diagonal_field": 0.0,
    "total_field": 0.0,
}
_GREY = ("FA", "M0", "S0", "Chi", "local_field", "off_diagonal_field")
_FIXED = {"FA": (0.0, 1.0), "phase": (-math.pi, math.pi)}
_TOP = 95
_ROUND = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


@dataclass(frozen=True)
class Scale:
    """How numbers become colours.

    Attributes:
        name: of the colour table, for captions.
        table: (256, 3) red, green, blue in 0 to 1; entry 0 is black.
        low: value of the lower end of the window.
        high: value of the upper end.
        logarithmic: whether the table is bent and zero means invalid, as the recommendation has it.
    """

    name: str
    table: Floats
    low: float
    high: float
    logarithmic: bool = False

    def indices(self, values: Floats) -> NDArray[np.uint8]:
        """Table entries of values of any shape; 0 for NaN (and, if logarithmic, for zero and less)."""
        shown = prepare(values, self.low, self.high) if self.logarithmic else values
        valid = np.isfinite(shown) & ((shown >= self.low) | (not self.logarithmic))
        position = (np.where(valid, shown, self.low) - self.low) / (self.high - self.low) * ENTRIES
        entry = np.clip(np.floor(position), 1, ENTRIES - 1)
        return np.where(valid, entry, 0).astype(np.uint8)


def relaxometry_table(quantity: str, low: float, high: float) -> Floats:
    """Colour table (256, 3) of a relaxation time or rate for the window from ``low`` to ``high``.

    Source: Fuderer 2025; the tables are Crameri's.

    Args:
        quantity: ``T1``, ``R1``, ``T2``, ``T2star``, ``T1rho``, … as BIDS spells it.
        low: lower end of the window, in the unit of the values.
        high: upper end, positive.

    Raises:
        UnknownNameError: the recommendation does not cover this quantity.
        DataError: a window that is empty or not above zero.
    """
    if quantity not in _LIPARI + _NAVIA:
        raise UnknownNameError(
            f"colour table for {quantity!r}",
            "the relaxometry recommendation does not cover it.",
            f"Use one of {', '.join(_LIPARI + _NAVIA)}.",
        )
    if not (high > low and high > 0):
        raise DataError(
            f"display window {low:g} to {high:g}",
            "a logarithmic window must end above its start and above zero.",
            "Give a window such as (0, 3).",
        )
    table = crameri("lipari" if quantity in _LIPARI else "navia")
    if quantity.startswith("R"):
        table = table[::-1]
    return _logarithmic(_with_black(table), low, high)


def prepare(values: Floats, low: float, high: float) -> Floats:
    """Move values so that invalid ones fall below the window and small valid ones stay inside it.

    Source: Fuderer 2025. NaN counts as invalid.
    """
    step = (high - low) / ENTRIES
    invalid = ~(values >= step)
    small = ~invalid & (values < low + step) & (low >= 0)
    return np.where(invalid, low - step, np.where(small, low + 1.5 * step, values))


def scale_of(name: str, values: Floats) -> Scale:
    """Colour scale of a parameter map with the default window for these values (any shape)."""
    low, high = window(name, values)
    if name in _LIPARI + _NAVIA:
        table = "Lipari" if name in _LIPARI else "Navia"
        kind = f"{table}, reversed" if name.startswith("R") else table
        return Scale(f"{kind}, logarithmic", relaxometry_table(name, low, high), low, high, logarithmic=True)
    if name in _GREY:
        return Scale("grey", _with_black(_grey(0.1)), low, high)
    if name == "phase":
        return Scale("romaO, cyclic", _with_black(crameri("romaO")), low, high)
    if _centre(name, values) is not None:
        return Scale("vik, diverging", _with_black(crameri("vik")), low, high)
    return Scale("batlow", _with_black(crameri("batlow")), low, high)


def uncertainty_scale(values: Floats) -> Scale:
    """Scale of standard deviations, coefficients of variation and residuals: from zero upwards."""
    return Scale("acton", _with_black(crameri("acton")), 0.0, _rounded_up(_percentile(values, _TOP, 1.0)))


def symmetric_scale(values: Floats, least: float) -> Scale:
    """Scale of differences: the same on both sides of zero, as far as ``least`` at least."""
    half = _rounded_up(max(_percentile(np.abs(values), _TOP, 1.0), least))
    return Scale("vik, diverging", _with_black(crameri("vik")), -half, half)


def image_scale(low: float, high: float) -> Scale:
    """Scale of measured images: from black to white."""
    return Scale("grey", _grey(0.0), low, high)


def window(name: str, values: Floats) -> tuple[float, float]:
    """Display window (low, high) of a parameter, in the unit of the values.

    Fixed for anisotropy and phase, symmetric about the centre for fields, from zero to the 95th percentile
    for the rest; ends are rounded, so that maps of one study mostly share a window.

    Args:
        name: of the parameter.
        values: those to show, any shape; NaN are left out.
    """
    if name in _FIXED:
        return _FIXED[name]
    centre = _centre(name, values)
    if centre is None:
        return 0.0, _rounded_up(_percentile(values, _TOP, 1.0))
    spread = max(abs(_percentile(values, q, centre) - centre) for q in (2, 98))
    half = _rounded_up(max(spread, 0.1 * abs(centre), 1e-12))
    return centre - half, centre + half


@functools.cache
def crameri(name: str) -> Floats:
    """One of Crameri's scientific tables, (256, 3) in 0 to 1."""
    from cmcrameri import cm

    return np.asarray(getattr(cm, name)(np.arange(ENTRIES)), dtype=np.float64)[:, :3]


def _centre(name: str, values: Floats) -> float | None:
    """Value that a diverging map is centred on; None for maps that start at zero."""
    if name in _CENTRES:
        return _CENTRES[name]
    return 0.0 if _percentile(values, 2, 0.0) < 0 else None


def _percentile(values: Floats, percent: float, default: float) -> float:
    finite = values[np.isfinite(values)]
    return float(np.percentile(finite, percent)) if finite.size else default


def _rounded_up(value: float) -> float:
    """The next number that reads well; 1 for what is not positive."""
    if not value > 0:
        return 1.0
    decade = 10.0 ** math.floor(math.log10(value))
    return decade * next(step for step in _ROUND if step * decade >= value * (1 - 1e-9))


def _grey(darkest: float) -> Floats:
    """Greys up to white; a darkest one above 0 stays clear of the black of invalid voxels."""
    return np.repeat(np.linspace(darkest, 1.0, ENTRIES)[:, None], 3, axis=1)


def _with_black(table: Floats) -> Floats:
    table = table.copy()
    table[0] = 0.0
    return table


def _logarithmic(table: Floats, low: float, high: float) -> Floats:
    """Bend a table: linear in value below a knee at high/e, logarithmic above it."""
    entries = len(table)
    knee = high / math.e
    start = max(knee, low)
    share = 1 / entries + max((knee - low) / (2 * knee - low), 0.0) * (knee >= low) + 1e-7
    values = low + np.arange(2, entries + 1) * (high - low) / entries
    logarithm = np.log(np.maximum(values, start) / start) / math.log(high / start)
    position = entries * (logarithm * (1 - share) + share)
    if low < knee:
        linear = entries * (values - low) / (knee - low) * (share - 1 / entries) + 1
        position = np.where(values > start, position, linear)
    entry = np.minimum(entries, 1 + np.floor(position)).astype(int)
    return np.concatenate([table[:1], table[entry - 1]])
