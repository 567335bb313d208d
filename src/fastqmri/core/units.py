"""Quantities with units: the only way a number of ambiguous unit gets in.

Inside the package numbers are SI (s, rad, Hz, T, m) except where BIDS has the field's habit: b-values in
s/mm², diffusivities in mm²/s, χ and offsets in ppm, B1+ as a fraction of nominal.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from fastqmri.core.errors import UnitError

GYROMAGNETIC_RATIO = 42.577478518e6
"""γ/2π of the proton in Hz/T (CODATA 2018): one ppm is 1e-6 of this times the field."""
GYROMAGNETIC_RATIO_UT = 2e-6 * math.pi * GYROMAGNETIC_RATIO
"""γ of the proton in rad/s/µT, which is rad/s for one ppm at one tesla."""


@dataclass(frozen=True)
class Dimension:
    """A kind of quantity: its unit inside the package, and the spellings accepted from users.

    Args:
        name: in words, for messages.
        unit: the unit used inside, as BIDS spells it.
        factors: accepted spelling -> factor to the inside unit.
        readings: the two spellings a bare number could have meant.
    """

    name: str
    unit: str
    factors: Mapping[str, float]
    readings: tuple[str, str]


TIME = Dimension("time", "s", {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}, ("ms", "s"))
ANGLE = Dimension("angle", "rad", {"rad": 1.0, "deg": math.pi / 180, "°": math.pi / 180}, ("deg", "rad"))
FREQUENCY = Dimension("frequency", "Hz", {"Hz": 1.0, "kHz": 1e3, "rad/s": 1 / (2 * math.pi)}, ("Hz", "rad/s"))
FIELD = Dimension("field strength", "T", {"T": 1.0, "mT": 1e-3}, ("T", "mT"))
B_VALUE = Dimension("b-value", "s/mm2", {"s/mm2": 1.0, "s/m2": 1e-6, "ms/um2": 1e3}, ("s/mm2", "ms/um2"))
DIFFUSIVITY = Dimension(
    "diffusivity", "mm2/s", {"mm2/s": 1.0, "um2/ms": 1e-3, "um2/s": 1e-6, "m2/s": 1e6}, ("mm2/s", "um2/ms")
)
RATE = Dimension("rate", "1/s", {"1/s": 1.0, "Hz": 1.0, "1/ms": 1e3}, ("1/s", "1/ms"))
SATURATION_B1 = Dimension(
    "saturation amplitude", "uT", {"uT": 1.0, "µT": 1.0, "nT": 1e-3, "mT": 1e3, "T": 1e6}, ("uT", "mT")
)
OFFSET = Dimension("frequency offset", "ppm", {"ppm": 1.0, "ppb": 1e-3}, ("ppm", "ppb"))
GRADIENT = Dimension("gradient amplitude", "T/m", {"T/m": 1.0, "mT/m": 1e-3, "G/cm": 1e-2}, ("mT/m", "T/m"))
LENGTH = Dimension("length", "um", {"um": 1.0, "µm": 1.0, "nm": 1e-3, "mm": 1e3}, ("um", "mm"))
FRACTION = Dimension("fraction", "1", {"%": 0.01, "fraction": 1.0}, ("%", "fraction"))

DIMENSIONS = (
    TIME,
    ANGLE,
    FREQUENCY,
    FIELD,
    B_VALUE,
    DIFFUSIVITY,
    RATE,
    SATURATION_B1,
    OFFSET,
    FRACTION,
    GRADIENT,
    LENGTH,
)

_QUANTITY = re.compile(r"^\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(.*?)\s*$")


def parse_quantity(text: str, dimension: Dimension, *, name: str = "value") -> float:
    """Turn ``15ms`` or ``3deg`` into a number in the unit used inside the package.

    Args:
        text: a number followed by its unit.
        dimension: what kind of quantity is expected.
        name: what the number is for (an option's name), for the message.

    Returns:
        The value in ``dimension.unit``.

    Raises:
        UnitError: no number, no unit (the message names the two readings), or a unit of another kind.
    """
    match = _QUANTITY.match(text)
    if not match:
        raise UnitError(
            f"{name} = {text!r}", "it does not start with a number.", f"Write it like {_example(dimension)}."
        )
    number, unit = float(match[1]), match[2]
    if not unit:
        first, second = dimension.readings
        raise UnitError(
            f"{name} = {text!r} (no unit)",
            f"it could mean {match[1]} {first} or {match[1]} {second}, and they differ by a factor of "
            f"{_ratio(dimension):.4g}.",
            f"Write {_spelled(match[1], first)} or {_spelled(match[1], second)}.",
        )
    if unit not in dimension.factors:
        raise UnitError(
            f"{name} = {text!r}",
            f"{unit!r} is not a unit of {dimension.name}.",
            f"Use one of {', '.join(dimension.factors)}.",
        )
    value = number * dimension.factors[unit]
    if not math.isfinite(value):
        raise UnitError(f"{name} = {text!r}", "it is beyond all numbers.", "Check the exponent.")
    return value


def parse_quantities(text: str, dimension: Dimension, *, name: str = "value") -> tuple[float, ...]:
    """Parse a comma-separated list; a last unit serves the bare numbers before it (``3,20deg``).

    Ranges are written ``start:step:stop`` with the unit at the end (``10:10:320ms``), the stop included.

    Raises:
        UnitError: as `parse_quantity`, or a range whose steps do not end at its stop.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise UnitError(f"{name} = {text!r}", "it is empty.", f"Write a list like {_example(dimension)}.")
    last_unit = match[2] if (match := _QUANTITY.match(parts[-1].split(":")[-1])) else ""
    values: list[float] = []
    for part in parts:
        pieces = [
            p if (m := _QUANTITY.match(p)) is None or m[2] or not last_unit else f"{p} {last_unit}"
            for p in part.split(":")
        ]
        numbers = [parse_quantity(piece, dimension, name=name) for piece in pieces]
        if len(numbers) == 1:
            values += numbers
            continue
        steps = (numbers[2] - numbers[0]) / numbers[1] if len(numbers) == 3 and numbers[1] else -1.0
        if not 0 <= steps <= 100_000 or abs(steps - round(steps)) > 1e-6:
            raise UnitError(
                f"{name} = {part!r}",
                "it is not a range start:step:stop whose steps end at its stop.",
                "Write it like 10:10:320ms.",
            )
        values += [numbers[0] + i * numbers[1] for i in range(round(steps) + 1)]
    return tuple(values)


def format_quantity(value: float, dimension: Dimension) -> str:
    """Write a number of the inside unit the way people read it (``15 ms``, ``3 deg``)."""
    unit = {"time": "ms", "angle": "deg"}.get(dimension.name, dimension.unit)
    if dimension is TIME and abs(value) >= 10:
        unit = "s"
    return f"{value / dimension.factors.get(unit, 1.0):.6g} {unit}"


def _example(dimension: Dimension) -> str:
    return _spelled("15", dimension.readings[0])


def _spelled(number: str, unit: str) -> str:
    return f"{number} {unit}" if unit[0].isdigit() else f"{number}{unit}"


def _ratio(dimension: Dimension) -> float:
    a, b = (dimension.factors[u] for u in dimension.readings)
    return max(a / b, b / a)
