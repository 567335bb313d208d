"""Numbers and units as people read them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fastqmri.core import Acquisition, Flag, Parameter
from fastqmri.core.units import (
    ANGLE,
    B_VALUE,
    FIELD,
    FREQUENCY,
    SATURATION_B1,
    TIME,
    Dimension,
    format_quantity,
)

_MANY = 12
_MILLISECONDS = ("T2", "T1rho")
_MICROSECONDS = ("T2r", "T2m")
_FIELDS: dict[str, tuple[str, Dimension]] = {
    "flip_angle": ("flip angle", ANGLE),
    "repetition_time": ("repetition time", TIME),
    "inversion_time": ("inversion time", TIME),
    "echo_time": ("echo time", TIME),
    "b_value": ("b-value", B_VALUE),
    "saturation_angle": ("saturation angle", ANGLE),
    "pulse_duration": ("pulse duration", TIME),
    "pulse_bandwidth": ("pulse bandwidth", FREQUENCY),
    "delay": ("delay", TIME),
    "saturation_b1": ("saturation B1", SATURATION_B1),
    "saturation_time": ("saturation time", TIME),
    "field_strength": ("field strength", FIELD),
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


_UNITS = {
    "mm2/s": DisplayUnit(1e3, "10⁻³ mm²/s"),
    "arbitrary": DisplayUnit(1.0, "a.u."),
    "fraction": DisplayUnit(1.0, ""),
    "1": DisplayUnit(1.0, ""),
}


def display_unit(parameter: Parameter) -> DisplayUnit:
    """Unit for showing a parameter: ms for T2 and its kin (µs in semi-solids), else close to the stored unit."""
    if parameter.unit == "s" and parameter.name in _MICROSECONDS:
        return DisplayUnit(1e6, "µs")
    if parameter.unit == "s" and parameter.name.startswith(_MILLISECONDS):
        return DisplayUnit(1e3, "ms")
    return _UNITS.get(parameter.unit, DisplayUnit(1.0, parameter.unit))


def with_error(value: float, deviation: float, unit: DisplayUnit) -> str:
    """``1.23 ± 0.04 s``, the deviation with two significant digits and the value with as many decimals."""
    if not (math.isfinite(value) and math.isfinite(deviation) and deviation > 0):
        return unit.show(value)
    value, deviation = value * unit.factor, deviation * unit.factor
    decimals = max(1 - math.floor(math.log10(deviation)), 0)
    return f"{value:.{decimals}f} ± {deviation:.{decimals}f} {unit.text}".rstrip()


def plain(value: float) -> str:
    """A round number (of a tick, of a window) without trailing zeros."""
    return f"{value:.6g}".replace("-", "−")


def number(value: float, digits: int = 3) -> str:
    """A number with so many significant digits, an en dash for NaN and infinity."""
    if not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if not -4 <= size < 6:
        return f"{value:.{digits - 1}e}"
    return f"{value:.{max(digits - 1 - size, 0)}f}".replace("-", "−")


def count(voxels: int, noun: str = "voxel") -> str:
    """``1 voxel``, ``12 345 voxels`` with narrow spaces between thousands."""
    return f"{grouped(voxels)} {noun}{'' if voxels == 1 else 's'}"


def grouped(value: int) -> str:
    """An integer with narrow no-break spaces between its thousands."""
    return f"{value:,}".replace(",", "\u202f")


def percent(part: float, whole: float) -> str:
    """A share in percent; what is little is not rounded to nothing, what is much not to all."""
    if not whole:
        return "–"
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "< 0.1 %"
    return "> 99.9 %" if 99.9 < share < 100 else f"{share:.3g} %"


def flag_name(flag: Flag) -> str:
    """``AT_BOUND`` as ``at bound``, ``OK`` as ``trusted``."""
    return "trusted" if flag == Flag.OK else (flag.name or "").replace("_", " ").lower().replace("snr", "SNR")


def acquisition_phrases(acquisition: Acquisition) -> list[str]:
    """What the scanner was told, one phrase a field: ``flip angle 3, 20 deg``."""
    phrases = []
    for name in type(acquisition).model_fields:
        value = getattr(acquisition, name)
        if value is None:
            continue
        if name == "b_vector":
            phrases.append(f"{len({v for v in value if any(v)})} gradient directions")
        elif name == "mt_state":
            phrases.append(f"MT pulse on in {sum(value)} of {len(value)} images")
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
