"""NIfTI images in and out: slope and intercept applied once, the affine kept, files whole or absent."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fastqmri.core import DataError, FileError, ShapeError
from fastqmri.io.atomic import atomic

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Image

AFFINE_TOLERANCE = 1e-3
"""Largest difference between two affines of the same voxels, in voxel sizes."""
LEAST_COVERAGE = 0.9
"""Smallest share of an image that a map must cover to be resampled to it."""
_DAMAGED = (EOFError, OSError, zlib.error, ValueError)
_COPY_AGAIN = "Copy or convert it again, and check the disk for space."


@dataclass(frozen=True)
class Grid:
    """Where the voxels of an image lie.

    Attributes:
        path: file it was read from, for messages.
        shape: (x, y, z).
        affine: (4, 4) float64, voxel to world in mm.
    """

    path: Path
    shape: tuple[int, ...]
    affine: Tensor

    @property
    def voxel_size(self) -> tuple[float, float, float]:
        """Edge lengths of a voxel in mm."""
        x, y, z = self.affine[:3, :3].norm(dim=0).tolist()
        return x, y, z

    def matches(self, other: Grid) -> bool:
        """Whether both have the same voxels at the same places."""
        return self.shape == other.shape and self._distance(other) <= AFFINE_TOLERANCE * min(self.voxel_size)

    def require(self, other: Grid) -> None:
        """Check that ``other`` has the same voxels at the same places.

        Raises:
            ShapeError: it has not; names both files and what differs.
        """
        if self.shape != other.shape:
            raise ShapeError(
                f"{other.path} has {_times(other.shape)} voxels, {self.path} has {_times(self.shape)}",
                "both must lie on the same voxels.",
                "Resample one to the other, or check that they belong to the same scan.",
            )
        if not self.matches(other):
            raise ShapeError(
                f"the affine of {other.path} is {_rows(other.affine)}, that of {self.path} is "
                f"{_rows(self.affine)}",
                f"they differ by up to {self._distance(other):.4g} mm: the same voxel is not the same place.",
                "Register and resample one to the other, or correct the header that is wrong.",
            )

    def _distance(self, other: Grid) -> float:
        return float((self.affine - other.affine).abs().max())


@dataclass(frozen=True)
class Image:
    """A NIfTI image with slope and intercept applied.

    Attributes:
        path: file it was read from.
        data: (x, y, z) or (x, y, z, volume), float32 or complex64.
        affine: (4, 4) float64, voxel to world in mm.
        voxel_size: edge lengths of a voxel in mm, as the header states them.
    """

    path: Path
    data: Tensor
    affine: Tensor
    voxel_size: tuple[float, float, float]

    @property
    def grid(self) -> Grid:
        """Where its voxels lie."""
        return Grid(self.path, tuple(self.data.shape[:3]), self.affine)


def read_image(path: Path | str) -> Image:
    """Read a NIfTI-1 or NIfTI-2 file.

    Axes of length one behind the third are dropped, two-dimensional images get a third one.

    Raises:
        FileError: the file is missing, empty, damaged, no NIfTI image, without voxels, of colours, of more
            than four dimensions, or has an affine that can't be inverted.
    """
    path = Path(path)
    image = _open(path)
    shape, affine = _shape(image, path), _affine(image, path)
    try:
        if path.suffix == ".gz":
            # all at once, so that the checksum at the end of the file is looked at
            image = type(image).from_bytes(gzip.decompress(path.read_bytes()))
        voxels = np.asanyarray(image.dataobj)
    except _DAMAGED as error:
        raise FileError(
            f"{path}: {_one_line(error)}", "the file ends early or is damaged.", _COPY_AGAIN
        ) from error
    kind = np.complex64 if np.iscomplexobj(voxels) else np.float32
    data = torch.from_numpy(voxels.astype(kind, copy=False).reshape(shape, order="F"))
    x, y, z = (float(size) for size in (*image.header.get_zooms()[:3], 1.0, 1.0)[:3])
    return Image(path, data, affine, (x, y, z))


def read_grid(path: Path | str) -> tuple[Grid, int]:
    """Read only the header: the grid, and the number of volumes (1 for a 3D image).

    Raises:
        FileError: as `read_image`, but for damaged voxels.
    """
    path = Path(path)
    image = _open(path)
    shape = _shape(image, path)
    return Grid(path, shape[:3], _affine(image, path)), shape[3] if len(shape) == 4 else 1


def check_size(path: Path | str) -> None:
    """Check, without reading all voxels where that can be avoided, that the file holds all its voxels.

    Raises:
        FileError: as `read_image`.
    """
    path = Path(path)
    image = _open(path)
    header = image.header
    expected = int(header["vox_offset"]) + int(np.prod(image.shape)) * header.get_data_dtype().itemsize
    if path.suffix != ".gz":
        found = path.stat().st_size
    else:
        # A gzip file ends with its unpacked length; files joined of several parts don't, so look closer then.
        with path.open("rb") as file:
            file.seek(-4, os.SEEK_END)
            found = int.from_bytes(file.read(), "little")
        if found != expected % 2**32:
            read_image(path)
            return
    if found < expected % 2**32:
        raise FileError(
            f"{path} holds {found} bytes, its header announces {expected}",
            "the file ends early.",
            _COPY_AGAIN,
        )


def read_images(paths: Sequence[Path | str]) -> tuple[Tensor, Grid]:
    """Read the contrasts of one scan: several 3D files, or one 4D file.

    Args:
        paths: in the order of the contrasts.

    Returns:
        Data (contrast, x, y, z), float32 or complex64, and the grid of the first file.

    Raises:
        FileError: as `read_image`; or no file at all.
        ShapeError: files that differ in shape or affine, or several of which one is 4D.
    """
    if not paths:
        raise FileError("no image", "there is nothing to estimate from.", "Name at least one NIfTI file.")
    images = [read_image(path) for path in paths]
    first = images[0]
    if len(images) == 1:
        data = first.data if first.data.ndim == 4 else first.data[..., None]
        return data.movedim(-1, 0).contiguous(), first.grid
    for image in images:
        if image.data.ndim == 4:
            raise ShapeError(
                f"{image.path} holds {image.data.shape[3]} volumes and is one of {len(images)} files",
                "it can't be told which volume belongs to which contrast.",
                "Give one 4D file, or one 3D file for each contrast.",
            )
        first.grid.require(image.grid)
    return torch.stack([image.data for image in images]).contiguous(), first.grid


def read_mask(path: Path | str, like: Grid) -> Tensor:
    """Read a mask, (x, y, z) bool; voxels above 0.5 belong to it, NaN does not.

    Raises:
        FileError: as `read_image`.
        ShapeError: it does not lie on the voxels of ``like``, or holds several volumes.
        DataError: no voxel belongs to it.
    """
    image = _read_volume(path)
    like.require(image.grid)
    mask = image.data > 0.5
    if not bool(mask.any()):
        raise DataError(
            f"{image.path} has no voxel above 0.5",
            "nothing would be estimated.",
            "Check that it is the mask, and that it holds 1 inside.",
        )
    return mask.contiguous()


def read_labels(path: Path | str, like: Grid) -> Tensor:
    """Read an image of region numbers, (x, y, z) int32; 0 (and NaN) belongs to no region.

    Raises:
        FileError: as `read_image`.
        ShapeError: it does not lie on the voxels of ``like``, or holds several volumes.
    """
    image = _read_volume(path)
    like.require(image.grid)
    return torch.nan_to_num(image.data).round().to(torch.int32).contiguous()


def read_map(path: Path | str, like: Grid) -> tuple[Tensor, str | None]:
    """Read a map of a smooth quantity (B1+) onto the voxels of ``like``.

    A map on other voxels is interpolated linearly in world coordinates; beyond its edge the edge value holds.

    Returns:
        The map (x, y, z), and a note if it was interpolated.

    Raises:
        FileError: as `read_image`.
        ShapeError: it covers less than 90 % of the image, or holds several volumes.
    """
    image = _read_volume(path)
    if like.matches(image.grid):
        return image.data.contiguous(), None
    values, covered = _interpolate(image, like)
    if covered < LEAST_COVERAGE:
        raise ShapeError(
            f"{image.path} ({_times(image.grid.shape)} voxels, affine {_rows(image.affine)}) covers "
            f"{100 * covered:.0f} % of {like.path} "
            f"({_times(like.shape)} voxels, affine {_rows(like.affine)})",
            f"it can be interpolated only where it covers at least {100 * LEAST_COVERAGE:.0f} %.",
            "Check that both are of the same session, or register and resample the map yourself.",
        )
    sizes = " to ".join(_times(round(size, 3) for size in grid.voxel_size) for grid in (image.grid, like))
    return values, f"{image.path.name} was interpolated to the images' voxels ({sizes} mm)."


def write_image(
    path: Path, data: Tensor, affine: Tensor | None, *, name: str, unit: str, description: str = ""
) -> None:
    """Write a map as NIfTI-1, atomically; NaN and infinity become 0.

    Args:
        path: where, ending in ``.nii.gz`` or ``.nii``.
        data: (x, y, z) or (x, y, z, volume); uint8 stays so, anything else becomes float32.
        affine: (4, 4) voxel to world in mm; None leaves the orientation unknown.
        name: of the quantity, for the header ("T1").
        unit: of the quantity, for the header ("s").
        description: up to 79 characters, for the header.

    Raises:
        OutputError: as `atomic`.
    """
    import nibabel

    if data.dtype != torch.uint8:
        data = torch.nan_to_num(data.to(torch.float32), nan=0.0, posinf=0.0, neginf=0.0)
    data = data.reshape(data.shape + (1,) * (3 - data.ndim))
    image = nibabel.Nifti1Image(data.cpu().numpy(), None if affine is None else affine.cpu().numpy())
    header = image.header
    header.set_slope_inter(1.0, 0.0)
    header.set_xyzt_units("mm", "sec" if data.ndim == 4 else None)
    header.set_intent("estimate", name=_ascii(f"{name} [{unit}]", 15))
    header["descrip"] = _ascii(description, 79)
    if affine is not None:
        _set_orientation(image, affine)
    with atomic(path) as temporary:
        nibabel.save(image, temporary)


def _set_orientation(image: Nifti1Image, affine: Tensor) -> None:
    """Write the affine to sform and qform, to the latter only if a quaternion can express it."""
    matrix = affine.cpu().numpy()
    image.set_sform(matrix, code=1)
    image.set_qform(matrix, code=1)
    smallest = float(affine[:3, :3].norm(dim=0).min())
    if np.abs(image.get_qform() - matrix).max() > AFFINE_TOLERANCE * smallest:
        image.set_qform(None, code=0)


def _open(path: Path) -> Nifti1Image:
    import nibabel
    from nibabel.filebasedimages import ImageFileError

    if path.is_symlink() and not path.exists():
        raise FileError(
            f"{path} is a link to a file that is not there",
            "there is nothing to read.",
            "Fetch the file's content first (with datalad or git-annex: get).",
        )
    if not path.exists():
        raise FileError(
            f"{path} does not exist", "there is nothing to read.", "Check the spelling and the folder."
        )
    if path.is_dir():
        raise FileError(f"{path} is a folder", "an image is a file.", "Name a .nii or .nii.gz file in it.")
    if not os.access(path, os.R_OK):
        raise FileError(f"{path} is not readable for this user", "nothing can be read.", "Get the right to.")
    if path.stat().st_size == 0:
        raise FileError(f"{path} holds 0 bytes", "an image has at least a header.", _COPY_AGAIN)
    try:
        image = nibabel.load(path, mmap=False)
    except (ImageFileError, *_DAMAGED) as error:
        raise FileError(f"{path}: {_one_line(error)}", *_unreadable(path)) from error
    if not isinstance(image, nibabel.Nifti1Image):
        raise FileError(
            f"{path} is of format {type(image).__name__}",
            "only NIfTI in a single file is read.",
            "Convert it to .nii.gz.",
        )
    return image


def _unreadable(path: Path) -> tuple[str, str]:
    """Why a file could not be opened, and what to do, from its first bytes."""
    with path.open("rb") as file:
        is_gzip = file.read(2) == b"\x1f\x8b"
    if path.suffix == ".gz" and not is_gzip:
        return (
            "its name ends in .gz, but it is not a gzip file.",
            "If it is uncompressed, drop the .gz from its name.",
        )
    if path.suffix == ".gz":
        return "it is a gzip file that ends early, is damaged, or holds no NIfTI image.", _COPY_AGAIN
    if is_gzip:
        return "it is a gzip file whose name does not end in .gz.", "Add .gz to its name."
    return "it is not a NIfTI image.", "Convert the scan to NIfTI, for example with dcm2niix."


def _shape(image: Nifti1Image, path: Path) -> tuple[int, ...]:
    """(x, y, z) or (x, y, z, volume)."""
    shape = tuple(int(n) for n in image.shape)
    kept = shape[:3] + (1,) * (3 - len(shape)) + tuple(n for n in shape[3:] if n != 1)
    if image.header.get_data_dtype().fields is not None:
        raise FileError(
            f"{path} holds colours", "colours can't be measured values.", "Give the image itself."
        )
    if 0 in kept:
        raise FileError(f"{path} has shape {_times(shape)}", "it holds no voxel.", "Convert the scan again.")
    if len(kept) > 4:
        raise FileError(
            f"{path} has shape {_times(shape)}", "at most four dimensions are read.", "Split it into volumes."
        )
    return kept


def _affine(image: Nifti1Image, path: Path) -> Tensor:
    affine = torch.as_tensor(np.array(image.affine, dtype=np.float64))
    if not bool(torch.isfinite(affine).all()) or abs(float(torch.linalg.det(affine[:3, :3]))) < 1e-12:
        raise FileError(
            f"{path} has the affine {_rows(affine)}",
            "it can't be inverted: its voxels have no volume.",
            "Convert the scan again, or correct its header.",
        )
    return affine


def _read_volume(path: Path | str) -> Image:
    """An image that must be 3D and real."""
    image = read_image(path)
    if image.data.ndim == 4 or image.data.is_complex():
        what = "complex values" if image.data.is_complex() else f"{image.data.shape[3]} volumes"
        raise ShapeError(
            f"{image.path} holds {what}",
            "one real 3D volume is needed here.",
            "Extract the volume that is meant.",
        )
    return image


def _interpolate(image: Image, like: Grid) -> tuple[Tensor, float]:
    """Values (x, y, z) of an image on another grid, and the share of that grid inside the image."""
    indices = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in like.shape), indexing="ij")
    to_image = torch.linalg.inv(image.affine) @ like.affine
    position = torch.stack(indices, -1) @ to_image[:3, :3].T + to_image[:3, 3]
    last = torch.tensor(image.data.shape[:3], dtype=torch.float64) - 1
    # half a voxel beyond the outermost centres still belongs to the image
    inside = ((position >= -0.5 - AFFINE_TOLERANCE) & (position <= last + 0.5 + AFFINE_TOLERANCE)).all(-1)
    scaled = 2 * position / last.clamp_min(1) - 1
    # grid_sample wants the fastest axis first
    values = F.grid_sample(
        image.data[None, None].to(torch.float64),
        scaled.flip(-1)[None],
        mode="bilinear",
        padding_mode="border",
        align_corners=True,
    )
    return values[0, 0].to(torch.float32), float(inside.double().mean())


def _times(numbers: Any) -> str:
    return " × ".join(f"{n:g}" for n in numbers)


def _rows(affine: Tensor) -> str:
    return "[" + "; ".join(" ".join(f"{v:.6g}" for v in row) for row in affine[:3].tolist()) + "]"


def _ascii(text: str, length: int) -> bytes:
    return text.encode("ascii", "replace")[:length]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
