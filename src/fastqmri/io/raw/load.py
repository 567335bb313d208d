"""One door for raw data of every kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fastqmri.core import FileError, UnknownNameError
from fastqmri.io.raw.mrd import opened, read_mrd
from fastqmri.io.raw.scan import RawScan, join_contrasts

KINDS = ("mrd",)
_HDF5 = b"\x89HDF\r\n\x1a\n"


def load_raw(
    paths: str | Path | Sequence[str | Path], *, contrast_axis: str | None = None, kind: str | None = None
) -> RawScan:
    """The scan in one file, or in several that each hold contrasts of it.

    Args:
        paths: of the files, in the order of their contrasts.
        contrast_axis: counter of ISMRMRD and Siemens files that numbers the contrasts; see `read_mrd`.
        kind: ``"mrd"``; None looks into the files.

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
        scans.append(read_mrd(path, contrast_axis=contrast_axis))
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
            names = ", ".join(sorted(content)) or "nothing"
        raise FileError(
            f"{path}: HDF5 with {names} in it",
            "ISMRMRD has a group named dataset.",
            "Convert the scan to ISMRMRD.",
        )
    raise FileError(
        f"{path}: begins with {start[:8]!r}",
        "it is no raw data of a kind known here (ISMRMRD).",
        "Convert the scan to ISMRMRD.",
    )
