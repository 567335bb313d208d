"""Numbers and units as people read them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fastqmri.core import Acquisition, Flag
from fastqmri.core.units import ANGLE, B_VALUE, TIME, Dimension, format_quantity

_MANY = 12
_FIELDS: dict[str, tuple[str, Dimension]] = {
    "flip_angle": ("flip angle", ANGLE),
    "repetition_time": ("repetition time", TIME),
    "inversion_time": ("inversion time", TIME),
    "echo_time": ("echo time", TIME),
    "b_value": ("b-value", B_VALUE),
}


@dataclass(frozen=True)
class DisplayUnit:
    """The unit a quantity is shown in.

    Attributes:
        factor: shown number over stored number.
        text: the unit; empty for pure numbers.
    """

    factor: float
    text: str

    def show(self, value: float) -> str:
        """A stored value with its unit."""
        shown = number(value * self.factor)
        return f"{shown} {self.text}" if self.text and math.isfinite(value) else shown


def display_unit(unit: str, largest: float) -> DisplayUnit:
    """Unit for showing values stored in ``unit`` of which the largest to show is ``largest``."""
    if unit == "s" and largest <= 0.5:
        return DisplayUnit(1e3, "ms")
    named = {
        "mm2/s": DisplayUnit(1e3, "10⁻³ mm²/s"),
        "arbitrary": DisplayUnit(1.0, "a.u."),
        "fraction": DisplayUnit(1.0, ""),
        "1": DisplayUnit(1.0, ""),
    }
    return named.get(unit, DisplayUnit(1.0, unit))


def number(value: float, digits: int = 3) -> str:
    """A number with so many significant digits, an en dash for NaN and infinity."""
    if not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if not -4 <= size < 6:
        return f"{value:.{digits - 1}e}"
    return f"{value:.{max(digits - 1 - size, 0)}f}"


def count(voxels: int, noun: str = "voxel") -> str:
    """``1 voxel``, ``12 345 voxels`` with narrow spaces between thousands."""
    return f"{grouped(voxels)} {noun}{'' if voxels == 1 else 's'}"


def grouped(value: int) -> str:
    """An integer with narrow no-break spaces between its thousands."""
    return f"{value:,}".replace(",", "\u202f")


def percent(part: float, whole: float) -> str:
    """A share in percent; small ones are not rounded to nothing."""
    if not whole:
        return "–"
    share = 100 * part / whole
    return "< 0.1 %" if 0 < share < 0.1 else f"{share:.3g} %"


def flag_name(flag: Flag) -> str:
    """``AT_BOUND`` as ``at bound``."""
    return (flag.name or "").replace("_", " ").lower().replace("snr", "SNR")


def acquisition_phrases(acquisition: Acquisition) -> list[str]:
    """What the scanner was told, one phrase a field: ``flip angle 3, 20 deg``."""
    phrases = []
    for name in type(acquisition).model_fields:
        value = getattr(acquisition, name)
        if value is None:
            continue
        if name == "b_vector":
            phrases.append(f"{len({v for v in value if any(v)})} gradient directions")
        elif name in _FIELDS:
            label, dimension = _FIELDS[name]
            phrases.append(f"{label} {_listed(value, dimension)}")
        else:
            phrases.append(f"{name.replace('_', ' ')} {value}")
    return phrases


def _listed(value: float | tuple[float, ...], dimension: Dimension) -> str:
    if not isinstance(value, tuple):
        return format_quantity(value, dimension)
    distinct = sorted(set(value))
    unit = format_quantity(max(value), dimension).split(" ", 1)[1]
    shown = [f"{v / dimension.factors[unit]:.6g}" for v in distinct]
    if len(distinct) > _MANY:
        return f"{shown[0]} to {shown[-1]} {unit} ({len(value)} values)"
    if len(distinct) == len(value):
        return f"{', '.join(shown)} {unit}"
    repeats = (f"{text} ({value.count(v)} times)" for text, v in zip(shown, distinct, strict=True))
    return f"{', '.join(repeats)} {unit}"
