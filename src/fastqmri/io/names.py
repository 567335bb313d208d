"""BIDS file names, taken apart."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

INDICES = ("run", "echo", "flip", "inv", "chunk", "split")
"""Entities whose value is a number: ``echo-01`` is ``echo-1``."""

_ENTITY = re.compile(r"^([a-zA-Z]+)-([a-zA-Z0-9+]+)$")


@dataclass(frozen=True)
class Name:
    """A BIDS file name in its parts.

    Attributes:
        entities: key -> label, or number for an index, in the order of the name.
        suffix: what the file holds ("VFA").
        extension: from the first dot on (".nii.gz").
    """

    entities: Mapping[str, str | int]
    suffix: str
    extension: str

    def applies_to(self, other: Name) -> bool:
        """Whether a file of this name describes ``other``: same suffix, and only entities of ``other``."""
        return self.suffix == other.suffix and self.entities.items() <= other.entities.items()


def parse_name(path: Path | str) -> Name | None:
    """Take a file name apart; None where it is not BIDS's ``key-value_…_suffix.extension``."""
    stem, dot, extension = Path(path).name.partition(".")
    *pairs, suffix = stem.split("_")
    entities: dict[str, str | int] = {}
    for pair in pairs:
        match = _ENTITY.match(pair)
        if match is None or match[1] in entities:
            return None
        key, value = match.groups()
        if key in INDICES and not value.isdecimal():
            return None
        entities[key] = int(value) if key in INDICES else value
    if not suffix.isalnum() or not dot:
        return None
    return Name(entities, suffix, dot + extension)
