"""Plain NIfTI files with the acquisition given by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from fastqmri.core import Acquisition, Measurement, ShapeError
from fastqmri.io.nifti import Grid, read_images, read_map, read_mask
from fastqmri.io.transmit import b1_fraction


def load_plain(
    images: Sequence[Path | str],
    acquisition: Acquisition,
    *,
    mask: Path | str | None = None,
    b1: Path | str | None = None,
    noise: float | None = None,
) -> tuple[Measurement, list[str]]:
    """Load contrast images and what belongs to them.

    Args:
        images: several 3D files in the order of the contrasts, or one 4D file.
        acquisition: what the scanner was told, one entry a contrast.
        mask: file of the voxels to estimate.
        b1: file of B1+, fraction or percent of nominal; interpolated if it lies on other voxels.
        noise: standard deviation of the noise, in units of the images.

    Returns:
        The measurement, and notes on what was assumed.

    Raises:
        FileError: an image that can't be read.
        ShapeError: images, mask and map that don't belong together, or not one image a contrast.
        DataError: an empty mask, or images without a finite value.
        PlausibilityError: a B1+ map in neither fraction nor percent.
    """
    data, grid = read_images(images)
    require_count(data, acquisition, images)
    inside = None if mask is None else read_mask(mask, grid)
    known, notes = ({}, []) if b1 is None else load_b1(b1, grid, inside)
    measurement = Measurement(data, acquisition, inside, known, noise, affine=grid.affine)
    return measurement, notes


def load_b1(path: Path | str, grid: Grid, mask: Tensor | None) -> tuple[dict[str, Tensor], list[str]]:
    """A B1+ map as ``Measurement.known`` wants it, and notes on what was assumed.

    Raises:
        FileError, ShapeError: as `read_map`.
        PlausibilityError: as `b1_fraction`.
    """
    values, interpolated = read_map(path, grid)
    fraction, unit = b1_fraction(values, mask, Path(path).name)
    return {"B1": fraction}, [note for note in (interpolated, unit) if note]


def require_count(data: Tensor, acquisition: Acquisition, images: Sequence[Path | str]) -> None:
    """Check that there is one volume a contrast.

    Raises:
        ShapeError: there is not; names both counts.
    """
    if data.shape[0] == acquisition.contrasts:
        return
    name = acquisition.varies.replace("_", " ")
    what = f"{data.shape[0]} volumes in {images[0]}" if len(images) == 1 else f"{len(images)} image files"
    raise ShapeError(
        f"{what}, but {acquisition.contrasts} {name}s",
        f"every image needs its {name}.",
        f"Give one {name} for each image, in the order of the images.",
    )
