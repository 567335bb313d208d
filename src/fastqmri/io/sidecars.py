"""What the JSON sidecars say of an image, with BIDS's inheritance, and which file said it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from fastqmri.core import PlausibilityError, SidecarError
from fastqmri.core.acquisition import EchoTime, FlipAngle, InversionTime, RepetitionTime
from fastqmri.core.units import ANGLE, TIME, Dimension, format_quantity
from fastqmri.io.names import Name, parse_name


@dataclass(frozen=True)
class _Kind:
    """How a field is read: its dimension, BIDS's unit of it, and what values a scanner can have been told."""

    dimension: Dimension
    unit: str
    limits: TypeAdapter[float]


_KINDS = {
    "EchoTime": _Kind(TIME, "s", TypeAdapter(EchoTime)),
    "EchoTime1": _Kind(TIME, "s", TypeAdapter(EchoTime)),
    "EchoTime2": _Kind(TIME, "s", TypeAdapter(EchoTime)),
    "InversionTime": _Kind(TIME, "s", TypeAdapter(InversionTime)),
    "RepetitionTime": _Kind(TIME, "s", TypeAdapter(RepetitionTime)),
    "RepetitionTimeExcitation": _Kind(TIME, "s", TypeAdapter(RepetitionTime)),
    "RepetitionTimePreparation": _Kind(TIME, "s", TypeAdapter(RepetitionTime)),
    "FlipAngle": _Kind(ANGLE, "deg", TypeAdapter(FlipAngle)),
}


_STATES = {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}


@dataclass(frozen=True)
class Record:
    """Where a number came from.

    Attributes:
        file: the image it describes, relative to the dataset.
        quantity: BIDS field ("EchoTime").
        value: with its unit, for people ("14.5 ms").
        source: the file that states it, relative to the dataset.
    """

    file: str
    quantity: str
    value: str
    source: str


@dataclass
class Sidecar:
    """The merged sidecars of one image.

    Attributes:
        image: the file described.
        root: of the dataset.
        fields: field -> value, as JSON holds it.
        sources: field -> the JSON file whose value holds.
        searched: the JSON files that apply, from the root down.
        warnings: what was taken in spite of not being as BIDS wants it.
        records: what was asked for so far, and where it stood.
    """

    image: Path
    root: Path
    fields: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, Path] = field(default_factory=dict)
    searched: list[Path] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)

    def __contains__(self, name: object) -> bool:
        return name in self.fields

    def text(self, name: str) -> str | None:
        """A field's text, or None where it is missing."""
        value = self.fields.get(name)
        return None if value is None else str(value)

    def value(self, name: str) -> float:
        """A number in the package's unit: times in s, angles in rad.

        Raises:
            SidecarError: the field is missing or not a number.
            PlausibilityError: no scanner could have been told this value.
        """
        value = self._require(name)
        return self._convert(name, value[0] if isinstance(value, list) and len(value) == 1 else value)

    def series(self, name: str) -> tuple[float, ...]:
        """The values of a field that holds a number or a list, in s or rad; errors as `value`."""
        value = self._require(name)
        return tuple(self._convert(name, v) for v in (value if isinstance(value, list) else [value]))

    def state(self, name: str) -> bool:
        """A field that is true or false.

        Raises:
            SidecarError: the field is missing, or neither.
        """
        if name not in self:
            raise self.missing(name, "true or false")
        value, where = self.fields[name], self.sources[name]
        found = _STATES.get(str(value).strip().lower())
        if found is None:
            raise SidecarError(
                f"{name} = {value!r} in {where}", "it must be true or false.", "Correct it there."
            )
        if not isinstance(value, bool):
            self.warnings.append(f"{where}: {name} = {value!r} was read as {str(found).lower()}.")
        image, source = (str(path.relative_to(self.root)) for path in (self.image, where))
        self.records.append(Record(image, name, "on" if found else "off", source))
        return found

    def first_of(self, *names: str) -> str | None:
        """The first of several fields that is there, with a warning if it is not the one meant."""
        found = next((name for name in names if name in self), None)
        if found not in (None, names[0]):
            self.warnings.append(f"{self._where(found)} has no {names[0]}; {found} was read instead.")
        return found

    def missing(self, name: str, example: str) -> SidecarError:
        """The error for a field that no sidecar holds."""
        places = ", ".join(str(path) for path in self.searched) or f"no JSON file for {self.image}"
        return SidecarError(
            f"{name} of {self.image}: not found in {places}",
            "the model can't be evaluated without it.",
            f'Write "{name}": {example} into {self.image.name.partition(".")[0]}.json beside the image.',
        )

    def _require(self, name: str) -> Any:
        if name not in self:
            kind = _KINDS[name]
            raise self.missing(name, f"<value in {kind.unit}>")
        return self.fields[name]

    def _convert(self, name: str, value: Any) -> float:
        """One number of a field in the package's unit."""
        kind, where = _KINDS[name], self.sources[name]
        number = self._number(name, value)
        try:
            inside = kind.limits.validate_python(number * kind.dimension.factors[kind.unit])
        except PlausibilityError as error:
            hint = f"Correct {where.name}: BIDS wants {name} in {kind.unit}."
            raise PlausibilityError(f"{name} = {number:g} in {where}", _reading(kind, error), hint) from error
        image, source = (str(path.relative_to(self.root)) for path in (self.image, where))
        self.records.append(Record(image, name, format_quantity(inside, kind.dimension), source))
        return inside

    def _number(self, name: str, value: Any) -> float:
        """A JSON value as a number; text that holds one is taken with a warning."""
        where = self.sources[name]
        if isinstance(value, str):
            try:
                number = float(value)
            except ValueError:
                number = math.nan
            if math.isfinite(number):
                self.warnings.append(f"{where}: {name} = {value!r} is text; it was read as {number:g}.")
                return number
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
        raise SidecarError(
            f"{name} = {value!r} in {where}",
            "one number is needed.",
            f"Write the number alone, in {_KINDS[name].unit}, without quotes or unit.",
        )

    def _where(self, name: str | None) -> str:
        return str(self.sources[name]) if name else str(self.image)


class SidecarReader:
    """Reads and merges sidecars, each file once.

    Args:
        root: of the dataset.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listed: dict[Path, dict[str, list[tuple[Path, Name]]]] = {}
        self._content: dict[Path, dict[str, Any]] = {}

    def read(self, image: Path) -> Sidecar:
        """The sidecar of an image: files from the root down whose entities it has; the nearest wins.

        Raises:
            SidecarError: a file that is no JSON object.
        """
        sidecar = Sidecar(image, self.root)
        for path in self.applicable(image, ".json"):
            sidecar.searched.append(path)
            for name, value in self._load(path).items():
                sidecar.fields[name] = value
                sidecar.sources[name] = path
        return sidecar

    def applicable(self, image: Path, extension: str) -> Iterator[Path]:
        """Files with ``extension`` that describe ``image``, from the farthest to the nearest."""
        name = parse_name(image)
        if name is None:
            return
        folders = [self.root]
        for part in image.parent.relative_to(self.root).parts:
            folders.append(folders[-1] / part)
        for folder in folders:
            fitting = [pair for pair in self._list(folder).get(extension, []) if pair[1].applies_to(name)]
            # BIDS allows one a folder; where there are more, the one that says most of the image is meant
            yield from (
                path for path, _ in sorted(fitting, key=lambda pair: (len(pair[1].entities), pair[0]))
            )

    def _list(self, folder: Path) -> dict[str, list[tuple[Path, Name]]]:
        if folder not in self._listed:
            by_extension: dict[str, list[tuple[Path, Name]]] = {}
            for path in folder.iterdir():
                name = parse_name(path)
                if name is not None:
                    by_extension.setdefault(name.extension, []).append((path, name))
            self._listed[folder] = by_extension
        return self._listed[folder]

    def _load(self, path: Path) -> dict[str, Any]:
        if path not in self._content:
            self._content[path] = read_json(path)
        return self._content[path]


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        SidecarError: the file can't be read, is not JSON, or holds something else than an object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise SidecarError(
            f"{path}, line {error.lineno}, column {error.colno}: {error.msg}",
            "it is not valid JSON.",
            "Correct it there; a missing comma, quote or brace is the usual reason.",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SidecarError(
            f"{path}: {getattr(error, 'strerror', None) or 'not UTF-8 text'}",
            "it can't be read.",
            "Check the file and the right to read it.",
        ) from error
    if not isinstance(content, dict):
        raise SidecarError(
            f"{path} holds a {type(content).__name__}", "a sidecar is a JSON object.", "Put it in { }."
        )
    return content


def _reading(kind: _Kind, error: PlausibilityError) -> str:
    """Why a value can't be right; of angles the core speaks in radians, a sidecar in degrees."""
    return error.why if kind.dimension is TIME else "angles are above 0 and at most 360 degrees."
