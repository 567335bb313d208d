"""HDF5 files and the ISMRMRD header in them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastqmri.core import FileError
from fastqmri.io.raw.packages import needed


def spaces_of(encoding: Any, path: Path) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Matrix (z, y, x) and field of view in m of what was encoded, and of the image.

    Raises:
        FileError: no matrix, or lengths that can't be millimetres.
    """
    return _space(encoding.encodedSpace, path), _space(encoding.reconSpace, path)


def _space(space: Any, path: Path) -> tuple[tuple[int, int, int], tuple[float, float, float]]:
    """Matrix (z, y, x) and field of view in m of an encoding space."""
    matrix = tuple(int(getattr(space.matrixSize, axis)) for axis in "zyx")
    view = tuple(float(getattr(space.fieldOfView_mm, axis)) * 1e-3 for axis in "zyx")
    if min(matrix) < 1 or not all(0 <= length < 2 for length in view):
        raise FileError(
            f"{path}: a matrix of {matrix} and a field of view of {view} m (z, y, x)",
            "matrices are at least 1, fields of view up to 2 m; the header has millimetres.",
            "Check encodedSpace and reconSpace.",
        )
    return matrix, view  # type: ignore[return-value]


def sequence_of(header: Any) -> dict[str, Any]:
    """Times in s, angles in rad and the field in T of an ISMRMRD header."""
    sequence = header.sequenceParameters
    system = header.acquisitionSystemInformation
    found: dict[str, Any] = {}
    if sequence is not None:
        for name, key in (("echo_time", "TE"), ("repetition_time", "TR"), ("inversion_time", "TI")):
            found[name] = tuple(float(value) * 1e-3 for value in getattr(sequence, key))
        found["flip_angle"] = tuple(math.radians(float(value)) for value in sequence.flipAngle_deg)
    field = None if system is None else system.systemFieldStrength_T
    return {**found, "field_strength": None if field is None else float(field)}


def parse_header(text: bytes | str, path: Path) -> Any:
    """The XML header.

    Raises:
        FileError: not of the schema, or without an encoding.
    """
    schema = needed("ismrmrd.xsd", path)
    try:
        header = schema.CreateFromDocument(text)
    except Exception as error:
        raise FileError(
            f"{path}: its XML header", f"it isn't an ISMRMRD header ({error}).", "Convert the scan again."
        ) from error
    if not header.encoding:
        raise FileError(
            f"{path}: a header without an encoding",
            "it holds the matrix and the field of view.",
            "Convert the scan again.",
        )
    return header


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """An HDF5 file, open for reading.

    Raises:
        FileError: missing, cut short, damaged, or not HDF5.
    """
    h5py = needed("h5py", path)
    if not path.is_file():
        raise FileError(f"{path}", "there is no such file.", "Check the path.")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except OSError as error:
        raise FileError(
            f"{path}",
            f"it isn't a whole HDF5 file ({error}).",
            "Copy or export it again; it may have been cut short.",
        ) from error
