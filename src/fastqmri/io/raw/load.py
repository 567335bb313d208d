"""One door for raw data of every kind."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

from fastqmri.core import FileError, UnknownNameError
from fastqmri.io.raw.fastmri import read_fastmri
from fastqmri.io.raw.header import opened
from fastqmri.io.raw.mrd import read_mrd
from fastqmri.io.raw.scan import RawScan, join_contrasts
from fastqmri.io.raw.siemens import read_siemens

KINDS = ("mrd", "siemens", "fastmri")
_HDF5 = b"\x89HDF\r\n\x1a\n"


def load_raw(
    paths: str | Path | Sequence[str | Path], *, contrast_axis: str | None = None, kind: str | None = None
) -> RawScan:
    """The scan in one file, or in several that each hold contrasts of it.

    Args:
        paths: of the files, in the order of their contrasts.
        contrast_axis: counter of ISMRMRD and Siemens files that numbers the contrasts; see `read_mrd`.
        kind: ``"mrd"``, ``"siemens"`` or ``"fastmri"``; None looks into the files.

    Raises:
        FileError: no such file, of no known kind, cut short, or unclear which contrasts it has.
        ShapeError: files that don't fit each other, readouts of different numbers of coils.
        UnknownNameError: no such kind or counter.
    """
    files = [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]
    if not files:
        raise FileError("no raw-data file", "at least one is needed.", "Name the file.")
    scans = []
    for path in files:
        read_as = kind or _kind_of(path)
        if read_as not in KINDS:
            raise UnknownNameError(
                f"raw data of kind {read_as!r}", f"known are {', '.join(KINDS)}.", "Name one of them."
            )
        if read_as == "fastmri":
            scans.append(read_fastmri(path))
        else:
            read = read_mrd if read_as == "mrd" else read_siemens
            scans.append(read(path, contrast_axis=contrast_axis))
    return join_contrasts(scans, [str(path) for path in files])


def _kind_of(path: Path) -> str:
    """What a file is, by its content."""
    if not path.is_file():
        raise FileError(f"{path}", "there is no such file.", "Check the path.")
    with path.open("rb") as file:
        start = file.read(16)
    if start.startswith(_HDF5):
        with opened(path) as content:
            if "dataset" in content:
                return "mrd"
            if "kspace" in content:
                return "fastmri"
            names = ", ".join(sorted(content)) or "nothing"
        raise FileError(
            f"{path}: HDF5 with {names} in it",
            "ISMRMRD has a group named dataset, fastMRI a data set named kspace.",
            "Convert the scan to ISMRMRD.",
        )
    if path.suffix.lower() == ".dat" or _lists_measurements(start):
        return "siemens"
    raise FileError(
        f"{path}: begins with {start[:8]!r}",
        "it is no raw data of a kind known here (ISMRMRD, Siemens, fastMRI).",
        "Convert the scan to ISMRMRD.",
    )


def _lists_measurements(start: bytes) -> bool:
    """Whether a file begins like Siemens raw data: a zero, then how many measurements (at most 64) follow."""
    first, entries = struct.unpack("<2I", start[:8]) if len(start) >= 8 else (1, 0)
    return first == 0 and 0 < entries <= 64
