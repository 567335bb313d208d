"""Diffusion gradients in FSL's layout, turned into the voxel axes of their image."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from fastqmri.core import DiffusionWeighted, FileError, PlausibilityError, ShapeError
from fastqmri.io.nifti import read_grid

UNWEIGHTED = 50.0
"""Below this b-value, in s/mm², the direction has no meaning and may be anything."""
LENGTH_TOLERANCE = 0.05
"""Largest deviation of a direction's length from one."""

Vector = tuple[float, float, float]


def read_gradients(
    bval: Path | str, bvec: Path | str | None, affine: Tensor
) -> tuple[tuple[float, ...], tuple[Vector, ...] | None, list[str]]:
    """Read b-values and b-vectors.

    FSL's rule: the file's directions are in voxel axes, the first one reversed where the affine has a
    positive determinant. Here that is undone, so that the directions are in the image's voxel axes.
    Directions of unweighted volumes (b < 50 s/mm²) that are no unit vectors become zero.

    Args:
        bval: one row (or one column) of b-values in s/mm².
        bvec: three rows (or three columns) of unit vectors; None for trace-weighted images.
        affine: (4, 4) voxel to world, of the image.

    Returns:
        b-values in s/mm²; unit or zero vectors in voxel axes, or None; and notes for the user.

    Raises:
        FileError: a file is missing, or not a table of numbers of this layout.
        ShapeError: the counts differ.
        PlausibilityError: a weighted volume's direction is more than 5 % off unit length.
    """
    bval = Path(bval)
    b_values = _read_b_values(bval)
    if bvec is None:
        return b_values, None, []
    bvec = Path(bvec)
    columns, notes = _read_columns(bvec)
    if len(columns) != len(b_values):
        raise ShapeError(
            f"{len(b_values)} b-values in {bval}, {len(columns)} b-vectors in {bvec}",
            "every volume needs one of each.",
            "Check that both files belong to this series.",
        )
    sign = -1.0 if float(torch.linalg.det(affine[:3, :3])) > 0 else 1.0
    vectors = [
        _unit(vector, b, f"b-vector {i + 1} of {bvec}")
        for i, (vector, b) in enumerate(zip(columns, b_values, strict=True))
    ]
    return b_values, tuple((sign * x + 0.0, y, z) for x, y, z in vectors), notes


def read_diffusion(
    image: Path | str, bval: Path | str, bvec: Path | str | None = None
) -> tuple[DiffusionWeighted, list[str]]:
    """The acquisition of a diffusion series, and notes for the user; only the image's header is read.

    Raises:
        FileError, ShapeError, PlausibilityError: as `read_gradients`; or counts that differ from the image's.
    """
    grid, volumes = read_grid(image)
    b_values, b_vectors, notes = read_gradients(bval, bvec, grid.affine)
    if len(b_values) != volumes:
        raise ShapeError(
            f"{volumes} volumes in {image}, {len(b_values)} b-values in {bval}",
            "every volume needs its b-value.",
            "Check that both files belong to the same series.",
        )
    return DiffusionWeighted(b_value=b_values, b_vector=b_vectors), notes


def _read_b_values(path: Path) -> tuple[float, ...]:
    rows = _read_table(path)
    if len(rows) > 1 and any(len(row) > 1 for row in rows):
        raise FileError(
            f"{path} holds {len(rows)} rows", "b-values stand in one row.", "Check that it is the .bval file."
        )
    values = tuple(value for row in rows for value in row)
    for i, value in enumerate(values):
        if not math.isfinite(value) or value < 0:
            raise PlausibilityError(
                f"b-value {i + 1} of {path} is {value:g}",
                "b-values are zero or positive.",
                "Correct the file.",
            )
    return values


def _read_columns(path: Path) -> tuple[list[Vector], list[str]]:
    """Vectors of a three-row or three-column table, and a note in the latter case."""
    rows = _read_table(path)
    widths = {len(row) for row in rows}
    if len(rows) == 3 and len(widths) == 1:
        return list(zip(*rows, strict=True)), []
    if widths == {3}:
        note = f"{path.name} holds three columns instead of three rows; they were read as x, y, z."
        return [(x, y, z) for x, y, z in rows], [note]
    raise FileError(
        f"{path} holds {len(rows)} rows of {', '.join(str(w) for w in sorted(widths))} numbers",
        "b-vectors stand in three rows of equal length.",
        "Check that it is the .bvec file.",
    )


def _read_table(path: Path) -> list[list[float]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(
            f"{path}: {getattr(error, 'strerror', None) or 'not a text file'}",
            "b-values and b-vectors are read from text files.",
            "Check the name, and that the file lies beside its image.",
        ) from error
    try:
        rows = [[float(word) for word in line.replace(",", " ").split()] for line in text.splitlines()]
    except ValueError as error:
        raise FileError(
            f"{path}: {error}", "it must hold numbers only.", "Remove everything else."
        ) from error
    rows = [row for row in rows if row]
    if not rows:
        raise FileError(f"{path} holds no number", "every volume needs one.", "Convert the series again.")
    return rows


def _unit(vector: Vector, b: float, what: str) -> Vector:
    """The direction at exactly unit length, or zero for an unweighted volume."""
    length = math.hypot(*vector)
    if abs(length - 1) <= LENGTH_TOLERANCE:
        x, y, z = (component / length for component in vector)
        return x, y, z
    if b < UNWEIGHTED:
        return 0.0, 0.0, 0.0
    raise PlausibilityError(
        f"{what} is ({', '.join(f'{v:g}' for v in vector)}), of length {length:.3g}, at b = {b:g} s/mm2",
        "directions of weighted volumes are unit vectors; some scanners scale b by them, but the file "
        "does not say so.",
        "Normalise the vectors, and scale the b-values if your scanner means them so.",
    )
