"""What the readouts of an ISMRMRD file are for, by their flags."""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fastqmri.core import FileError
from fastqmri.io.raw.assembly import Integers

NOISE, CALIBRATION, _BOTH, REVERSE = 19, 20, 21, 22
"""Numbers of flags, which ISMRMRD counts from 1."""
_SKIPPED = {
    23: "navigator",
    24: "phase-correction",
    26: "feedback",
    27: "dummy",
    28: "feedback",
    29: "surface-coil-correction",
    30: "phase-stabilisation reference",
    31: "phase-stabilisation",
}
_HARMLESS = (*range(1, 19), _BOTH, REVERSE, 25)
_COMPRESSED = range(53, 57)
_USER = range(57, 65)


class Kind(IntEnum):
    """What a readout is for."""

    IMAGE = 0
    NOISE = 1
    CALIBRATION = 2
    OTHER = 3


def sorted_by_kind(flags: NDArray[np.uint64], path: Path, notes: list[str]) -> Integers:
    """The `Kind` of each readout, (readout).

    Args:
        flags: (readout) bit masks of ISMRMRD.
        path: of the file, for messages.
        notes: what is left out is said here.

    Raises:
        FileError: flags that ISMRMRD does not define, or compressed samples.
    """

    def has(number: int) -> NDArray[np.bool_]:
        return (flags >> np.uint64(number - 1)) & np.uint64(1) != 0

    known = {*_HARMLESS, NOISE, CALIBRATION, *_SKIPPED, *_COMPRESSED, *_USER}
    unknown = [number for number in range(1, 65) if number not in known and has(number).any()]
    if unknown:
        raise FileError(
            f"{path}: acquisition flags {', '.join(map(str, unknown))} (counted from 1)",
            "ISMRMRD defines no such flags, so it isn't known what these readouts are.",
            "Clear the flags if the readouts are images, or drop the readouts.",
        )
    packed = [number for number in _COMPRESSED if has(number).any()]
    if packed:
        raise FileError(
            f"{path}: readouts flagged as compressed (ACQ_COMPRESSION{packed[0] - 52})",
            "compressed samples can't be read here.",
            "Write the file without compression.",
        )
    kinds = np.full(len(flags), Kind.IMAGE, np.int64)
    kinds[has(CALIBRATION) & ~has(_BOTH)] = Kind.CALIBRATION
    for number, name in _SKIPPED.items():
        found = has(number)
        if found.any():
            kinds[found] = Kind.OTHER
            notes.append(f"{int(found.sum())} {name} readouts left out")
    kinds[has(NOISE)] = Kind.NOISE
    users = [number - 56 for number in _USER if has(number).any()]
    if users:
        notes.append(f"readouts with user flags {', '.join(map(str, users))} taken like others")
    return kinds
