"""What a network may be used for, and whether a measurement is that."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from fastqmri.core import Acquisition, Measurement, ValidityError

Range = tuple[float, float]


class Validity(BaseModel):
    """Protocol, tissue and data that a network was trained for.

    Ranges that are None do not matter to the network.

    Attributes:
        acquisition: class under ``class``, and the fields that matter; None where the network is told the protocol.
        tolerance: relative difference of a number of the protocol up to which it counts as the same.
        near: relative difference up to which maps are made, with a warning.
        tissue: parameter -> range that was trained, in the parameter's unit.
        snr: mean signal of the brightest contrast over the noise.
        acceleration: all samples over those measured.
        matrix: voxels along a side of a slice, the first two axes.
        coils: number of receive coils.
        voxel_size: edge of a voxel in mm.
        field_strength: T.
        known: known map -> range (``B1``, fraction of nominal).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    acquisition: dict[str, Any] | None = None
    tolerance: float = 0.01
    near: float = 0.05
    tissue: dict[str, Range] = {}
    snr: Range | None = None
    acceleration: Range | None = None
    matrix: Range | None = None
    coils: Range | None = None
    voxel_size: Range | None = None
    field_strength: Range | None = None
    known: dict[str, Range] = {}


@dataclass(frozen=True)
class Judgement:
    """How a measurement relates to a card.

    Attributes:
        warnings: what lies a little outside.
        refusals: what lies so far outside that the network's maps would mean nothing.
    """

    warnings: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()

    def __add__(self, other: Judgement) -> Judgement:
        return Judgement(self.warnings + other.warnings, self.refusals + other.refusals)


EDGE = "near the edge of its card"
"""In every warning of a network."""
_HARMLESS = {("snr", "above"), ("acceleration", "below")}
"""Easier than anything trained: maps may be less good than they could be, but not wrong."""
_FAR = 0.25
"""Beyond a range by more than this share of its end, a number is far outside."""
_MOST_WORDS = 8
_UNITS = {"voxel_size": " mm", "field_strength": " T"}


def described(acquisition: Acquisition, without: Sequence[str] = ()) -> dict[str, Any]:
    """An acquisition as a card holds it.

    Args:
        acquisition: that a network is trained for.
        without: fields that do not matter to the network.
    """
    fields = acquisition.model_dump(mode="json", exclude=set(without))
    return {"class": type(acquisition).__name__, **fields}


def judge(validity: Validity, measurement: Measurement, **numbers: float | None) -> Judgement:
    """Hold a measurement against what a network was trained for.

    Args:
        validity: of its card.
        measurement: to be mapped.
        **numbers: what the caller knows of ``snr``, ``acceleration``, ``coils``, ``voxel_size``, ``field_strength``;
            the matrix is read off the measurement. What is None or left out is not judged.
    """
    found = judge_protocol(validity, measurement.acquisition)
    # the third axis counts slices
    sides = [float(side) for side in measurement.voxels[:2] if side > 1]
    for name, value in [*(("matrix", side) for side in sides), *numbers.items()]:
        found += in_range(name, value, getattr(validity, name))
    for name, limits in validity.known.items():
        if name in measurement.known:
            known = measurement.known[name]
            inside = known if measurement.mask is None else known[measurement.mask]
            found += in_range(f"median {name}", float(inside.double().nanmedian()), limits)
    return found


def in_range(name: str, value: float | None, limits: Range | None) -> Judgement:
    """Whether a number lies in a range, a little outside, or far outside."""
    if value is None or limits is None or not math.isfinite(value):
        return Judgement()
    low, high = limits
    if low <= value <= high:
        return Judgement()
    side, end = ("below", low) if value < low else ("above", high)
    unit = _UNITS.get(name, "")
    text = f"{name.replace('_', ' ')} {value:.4g}{unit} lies {side} the trained range, {low:.4g} to {high:.4g}{unit}"
    far = abs(value - end) > _FAR * max(abs(end), 1e-12)
    return (
        Judgement(refusals=(text,)) if far and (name, side) not in _HARMLESS else Judgement(warnings=(text,))
    )


def refuse_outside(name: str, judgement: Judgement, classical: str) -> tuple[str, ...]:
    """The warnings of a judgement, as notes for the maps.

    Args:
        name: of the network.
        judgement: of the measurement.
        classical: what to use instead, as the user asks for it.

    Raises:
        ValidityError: the measurement lies outside.
    """
    if judgement.refusals:
        raise ValidityError(
            f"{name} for a measurement it was not trained for: {'; '.join(judgement.refusals)}",
            "a network's maps of such data look as good as any, and mean nothing.",
            f"Use {classical}, or train the method for this protocol (fastqmri train).",
        )
    return tuple(f"{name}, {EDGE}: {text}." for text in judgement.warnings)


def judge_protocol(validity: Validity, acquisition: Acquisition) -> Judgement:
    """Hold an acquisition against the one that a network was trained for; all pass where it is told the protocol."""
    if validity.acquisition is None:
        return Judgement()
    trained, given = dict(validity.acquisition), described(acquisition)
    kind = trained.pop("class")
    if kind != given.pop("class"):
        return Judgement(refusals=(f"the acquisition is {type(acquisition).__name__}, trained was {kind}",))
    worst = 0.0
    places = []
    for name, a, b, least in _pairs(trained, given):
        if isinstance(a, str) or a is None or b is None or isinstance(b, str):
            # what the network was not told of, such as an excitation outside its model, plays no part
            difference = 0.0 if a == b or a is None else math.inf
        else:
            difference = abs(float(a) - float(b)) / max(abs(float(a)), least, 1e-12)
        if difference > validity.tolerance:
            places.append(f"{name} {_text(b)} (trained: {_text(a)})")
            worst = max(worst, difference)
    if not places:
        return Judgement()
    text = f"{places[0]}{f' and {len(places) - 1} more' if len(places) > 1 else ''}"
    return Judgement(refusals=(text,)) if worst > validity.near else Judgement(warnings=(text,))


def protocol_text(validity: Validity) -> str:
    """The trained acquisition in a few words: its class, and each field or how many values it has."""
    if validity.acquisition is None:
        return "any protocol"
    words = []
    for name, value in validity.acquisition.items():
        if name == "class" or value is None or value in ((), []):
            continue
        if isinstance(value, Sequence) and not isinstance(value, str):
            many = len(value) > _MOST_WORDS or not all(isinstance(x, (int, float)) for x in value)
            shown = f"{len(value)} values" if many else ", ".join(_text(float(x)) for x in value)
        else:
            shown = _text(value)
        words.append(f"{name.replace('_', ' ')} {shown}")
    return f"{validity.acquisition['class']}: {'; '.join(words)}"


def _pairs(trained: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any, float]]:
    """Numbers and words of both, side by side, and what a difference is relative to at least.

    Lists of different length count as one difference.
    """
    for name, a in trained.items():
        b = given.get(name)
        if isinstance(a, Sequence) and isinstance(b, Sequence) and not isinstance(a, str):
            if len(a) != len(b):
                yield f"number of values of {name}", str(len(a)), str(len(b)), 0.0
                continue
            # against the largest, so that a zero or a tiny entry does not make any difference infinite
            least = 0.1 * max((abs(x) for x in a if isinstance(x, (int, float))), default=0.0)
            for i, (x, y) in enumerate(zip(a, b, strict=True), 1):
                yield f"{name} {i}", x, y, least
        else:
            yield name, a, b, 0.0


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
